// Reads AsyncAPI documents, one a line, and writes for each, one a line, what the official parser says of it.
import { createInterface } from "node:readline";
import asyncapi from "@asyncapi/parser";

const parser = new asyncapi.Parser();
for await (const line of createInterface({ input: process.stdin })) {
  const { document, diagnostics } = await parser.parse(line);
  const problems = diagnostics.filter(({ severity }) => severity < 2).map(({ message, path }) => `${path.join(".")}: ${message}`);
  const messages = document?.channels().all().flatMap((channel) => channel.messages().all().map((message) => message.name()));
  console.log(JSON.stringify({ problems, messages: messages ?? [] }));
}
