"""`python -m workers.orders` runs one instance of the service."""

import gc

if __name__ == "__main__":
    gc.disable()  # until it serves: a tenth of the start would go into looking at modules that stay
    from workers.orders.app import main

    main()
