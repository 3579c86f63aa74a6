"""`python -m workers.catalog` runs one instance of the service."""

from workers.catalog.app import main

if __name__ == "__main__":
    main()
