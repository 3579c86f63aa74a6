# One line a task; ./justw runs them without anything installed beforehand.
set positional-arguments

bin := quote(justfile_directory() / ".venv/bin")
launcher := bin + "/python -m infra.launcher"

# List the tasks
[private]
default:
    @{{ bin }}/just --justfile {{ quote(justfile()) }} --list --unsorted

# Start the platform; Ctrl-C stops it (--detach: return when it is ready; --https; --with monitoring: Prometheus, too)
[no-exit-message]
up *args:
    @exec env HEDGEROW_CALLED_FROM={{ quote(invocation_directory()) }} {{ launcher }} up "$@"

# Stop the platform that was started here
[no-exit-message]
down:
    @{{ launcher }} down

# Start services and edge anew, one by one, the new one before the old one ends (NAME...: only these)
[no-exit-message]
restart *args:
    @{{ launcher }} restart "$@"

# Write database and broker definitions to a new FOLDER, while everything goes on
[no-exit-message]
backup *args:
    @env HEDGEROW_CALLED_FROM={{ quote(invocation_directory()) }} {{ launcher }} backup "$@"

# Put a backup in the place of what is there (FOLDER; --keys FILE: the keys of people)
[no-exit-message]
restore *args:
    @env HEDGEROW_CALLED_FROM={{ quote(invocation_directory()) }} {{ launcher }} restore "$@"

# Place an order on the running platform and watch its story
[no-exit-message]
demo:
    @{{ launcher }} demo

# Let a new key sign access tokens; the old one is honoured until its tokens end (--leaked: not any more)
[no-exit-message]
rotate-key *args:
    @{{ launcher }} rotate-key "$@"

# Let a new master key wrap the keys to personal data, and forget the old one
[no-exit-message]
rotate-master-key:
    @{{ launcher }} rotate-master-key

# Show what runs
[no-exit-message]
status:
    @{{ launcher }} status

# Show what a process wrote: users, edge, rabbitmq, ... (-f: go on)
[no-exit-message]
logs *args:
    @exec {{ launcher }} logs "$@"

# Plug a service from one FILE into the running platform (--name NAME)
[no-cd]
[no-exit-message]
run *args:
    @exec {{ launcher }} run "$@"

# Make a plug-in's accounts with few rights: NAME --hears 'orders.#' --routes /NAME (--asks, --commands; --renew)
[no-exit-message]
grant *args:
    @{{ launcher }} grant "$@"

# Take a plug-in's accounts back: NAME (--drop-data: its tables and queues, too)
[no-exit-message]
revoke *args:
    @{{ launcher }} revoke "$@"

# Run the tests on a real RabbitMQ and PostgreSQL
[no-exit-message]
test *args:
    @exec env -u PYTHONDONTWRITEBYTECODE {{ bin }}/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder "$@"

# Check format, rules, types and imports
check:
    {{ bin }}/ruff format --check . && {{ bin }}/ruff check .
    {{ bin }}/mypy
    {{ bin }}/lint-imports

# Format the code
format:
    {{ bin }}/ruff format . && {{ bin }}/ruff check --fix .

# Write contracts/schemas/, docs/orders.md and the dashboards anew
documents:
    {{ bin }}/python -m contracts
    {{ bin }}/python -m infra.grafana
    {{ bin }}/python -m workers.orders.table docs/orders.md

# Measure the speed beside others' (PIECE..., --rounds N, --seconds S, --write: keep it as docs/performance.md)
[no-exit-message]
bench *args:
    @exec {{ bin }}/python -m tests.bench "$@"

# Ask the running platform whatever it documents, and more (--max-examples N, --seed N, --max-time SECONDS, ...)
[no-exit-message]
fuzz *args:
    @exec {{ bin }}/python -m tests.system.fuzzing "$@"

# Hurt a platform while it works and check its books (--fault NAME, --sell-out, --all --write: docs/reliability.md)
[no-exit-message]
drill *args:
    @exec {{ bin }}/python -m tests.drills "$@"
