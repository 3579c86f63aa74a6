// NestJS: a RabbitMQ microservice, the Fastify adapter in front: `front` or `worker`, `bare` or `full`. What TypeScript
// would write as decorators is called by hand.
import "reflect-metadata";
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ClientProxyFactory, Ctx, MessagePattern, Transport } from "@nestjs/microservices";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { caller, count, metrics, visit } from "./door.mjs";

const [role, dress] = process.argv.slice(2);
const full = dress === "full";

const rabbitmq = (noAck) => ({
  transport: Transport.RMQ,
  options: {
    urls: [process.env.BENCH_AMQP],
    queue: "bench.requests",
    queueOptions: { durable: false },
    prefetchCount: 200,
    noAck,
    socketOptions: { connectionOptions: { noDelay: true } },
  },
});

function describe(type, method, ...decorators) {
  const descriptor = Object.getOwnPropertyDescriptor(type.prototype, method);
  for (const decorate of decorators) decorate(type.prototype, method, descriptor);
}

class Answers {
  hello(context) {
    const startedAt = performance.now();
    context.getChannelRef().ack(context.getMessage());
    if (full) count("bench.hello", startedAt);
    return { word: "hello" };
  }
}
Ctx()(Answers.prototype, "hello", 0);
describe(Answers, "hello", MessagePattern("bench.hello"));
Controller()(Answers);

// Replies come by direct reply-to, which RabbitMQ allows only without acknowledgements.
const client = role === "front" ? ClientProxyFactory.create(rabbitmq(true)) : null;

class Front {
  hello() {
    return client.send("bench.hello", {});
  }
}
describe(Front, "hello", Get("/hello"));
Controller()(Front);

class Room {}
Module({ controllers: [role === "front" ? Front : Answers] })(Room);

function observe(fastify) {
  fastify.addHook("onRequest", async (request, reply) => {
    request.visit = visit(request.method, "/hello");
    reply.header("x-request-id", request.visit.requestId);
    try {
      request.caller = caller(request.headers.authorization);
    } catch (error) {
      reply.code(401).send({ error: error.message });
      return reply;
    }
  });
  fastify.addHook("onResponse", async (request, reply) => request.visit.note(reply.statusCode));
}

if (role === "worker") {
  await (await NestFactory.createMicroservice(Room, { ...rabbitmq(false), logger: false })).listen();
} else {
  const app = await NestFactory.create(Room, new FastifyAdapter(), { logger: false });
  const fastify = app.getHttpAdapter().getInstance();
  if (full) observe(fastify);
  await client.connect();
  await app.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
}
