"""How fast it is, beside others, measured on one machine in one run: `just bench`."""
