"""The adapter of Stripe, on its official package; imported only where Stripe is chosen."""
