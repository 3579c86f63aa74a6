"""The request lane carried by aio-pika."""
