// Request/reply in plain amqplib: a correlation map, an exclusive reply queue, no Nagle, prefetch 64, acknowledged.
import { randomUUID } from "node:crypto";
import amqplib from "amqplib";
import { closedLoop } from "./closed_loop.mjs";

const QUEUE = "bench.words";

async function work(channel) {
  await channel.prefetch(64);
  await channel.consume(QUEUE, (message) => {
    const { word } = JSON.parse(message.content.toString());
    if (typeof word !== "string") throw new TypeError("word must be a string");
    const { replyTo, correlationId } = message.properties;
    channel.sendToQueue(replyTo, Buffer.from(JSON.stringify({ word })), { correlationId });
    channel.ack(message);
  });
}

async function measure(channel) {
  const replies = await channel.assertQueue("", { exclusive: true });
  const waiting = new Map();
  await channel.consume(
    replies.queue,
    (message) => {
      const { correlationId } = message.properties;
      waiting.get(correlationId)(message.content);
      waiting.delete(correlationId);
    },
    { noAck: true },
  );
  const ask = (body) =>
    new Promise((resolve) => {
      const correlationId = randomUUID();
      waiting.set(correlationId, resolve);
      channel.sendToQueue(QUEUE, body, { correlationId, replyTo: replies.queue });
    });
  await closedLoop(ask, Number(process.env.BENCH_SECONDS));
}

// Without noDelay amqplib waits for 40 ms again and again.
const connection = await amqplib.connect(process.env.BENCH_AMQP, { noDelay: true });
const channel = await connection.createChannel();
await channel.assertQueue(QUEUE, { durable: false });
if (process.argv[2] === "worker") {
  await work(channel);
} else {
  await measure(channel);
  await connection.close();
}
