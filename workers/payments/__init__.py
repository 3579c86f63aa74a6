"""The money of orders: held, taken or let go at a payment gateway."""
