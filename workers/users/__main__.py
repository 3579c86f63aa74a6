"""`python -m workers.users` runs one instance of the service."""

from workers.users.app import main

if __name__ == "__main__":
    main()
