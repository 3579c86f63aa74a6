"""`python -m workers.users` runs one instance of the service."""

import gc

if __name__ == "__main__":
    gc.disable()  # until it serves: a tenth of the start would go into looking at modules that stay
    from workers.users.app import main

    main()
