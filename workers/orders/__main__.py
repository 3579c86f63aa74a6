"""`python -m workers.orders` runs one instance of the service."""

from workers.orders.app import main

if __name__ == "__main__":
    main()
