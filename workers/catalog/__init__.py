"""What is for sale, what it costs and how many there are."""
