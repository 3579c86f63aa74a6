"""`python -m workers.payments` runs one instance of the service."""

from workers.payments.app import main

if __name__ == "__main__":
    main()
