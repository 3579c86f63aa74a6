// What a front does besides asking: verify an ES256 access token (RFC 9068), count, write a log line.
import { createPublicKey, randomUUID } from "node:crypto";
import { createVerifier } from "fast-jwt";
import pino from "pino";
import { Counter, Histogram, register } from "prom-client";

const labels = ["method", "route", "status"];
const requests = new Counter({ name: "http_requests_total", help: "HTTP requests answered.", labelNames: labels });
const seconds = new Histogram({ name: "http_request_seconds", help: "Time to answer.", labelNames: ["method", "route"] });
const handled = new Counter({ name: "requests_total", help: "Requests answered.", labelNames: ["topic"] });
const handling = new Histogram({ name: "request_seconds", help: "Time to answer a request.", labelNames: ["topic"] });
// Buffered, which is pino's fastest way.
const log = pino({ timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 1, sync: false, minLength: 4096 }));

function verifier() {
  const key = createPublicKey({ key: JSON.parse(process.env.BENCH_JWK), format: "jwk" });
  const pem = key.export({ type: "spki", format: "pem" });
  const claims = { allowedIss: "hedgerow", allowedAud: "hedgerow", checkTyp: "at+jwt" };
  return createVerifier({ key: pem, algorithms: ["ES256"], cache: 10_000, ...claims });
}

const verify = process.env.BENCH_JWK ? verifier() : null;

// Who sends this Authorization header; throws where the token is missing or bad.
export function caller(authorization) {
  if (!authorization?.startsWith("Bearer ")) throw new Error("a bearer token is wanted");
  return verify(authorization.slice(7)).sub;
}

// Call at the beginning of a request; what it returns, at its end.
export function visit(method, route) {
  const startedAt = performance.now();
  const requestId = randomUUID();
  const note = (status) => {
    const ms = performance.now() - startedAt;
    requests.inc({ method, route, status: `${Math.floor(status / 100)}xx` });
    seconds.observe({ method, route }, ms / 1000);
    log.info({ method, route, status, ms: Math.round(ms * 100) / 100, request_id: requestId }, "request");
  };
  return { requestId, note };
}

// Count an answered request in a worker.
export function count(topic, startedAt) {
  handled.inc({ topic });
  handling.observe({ topic }, (performance.now() - startedAt) / 1000);
}

export const metrics = () => register.metrics();
