"""Who is who: accounts, log-ins, tokens and profiles."""
