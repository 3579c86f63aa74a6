// Moleculer over its AMQP transporter, moleculer-web in front: `front` or `worker`, `bare` or `full`.
import { ServiceBroker } from "moleculer";
import ApiGateway from "moleculer-web";
import { caller, count, metrics, visit } from "../door.mjs";

const [role, dress, balancer] = process.argv.slice(2);
const full = dress === "full";

const broker = new ServiceBroker({
  nodeID: role,
  logger: false,
  metrics: false,
  tracing: false,
  validator: false,
  // Requests are acknowledged either way. "queue": all workers consume one queue, and the broker hands a dead one's
  // requests to another; "builtin": Moleculer's own balancer, a queue a worker.
  disableBalancer: balancer === "queue",
  transporter: {
    type: "AMQP",
    options: { url: process.env.BENCH_AMQP, prefetch: 200, socketOptions: { noDelay: true } },
  },
});

const worker = {
  name: "bench",
  actions: {
    hello() {
      const startedAt = performance.now();
      const reply = { word: "hello" };
      if (full) count("bench.hello", startedAt);
      return reply;
    },
  },
};

function observe(req, res, next) {
  const it = visit(req.method, "/hello");
  res.setHeader("x-request-id", it.requestId);
  res.once("finish", () => it.note(res.statusCode));
  next();
}

const front = {
  name: "api",
  mixins: [ApiGateway],
  settings: {
    ip: "127.0.0.1",
    port: Number(process.env.BENCH_PORT),
    etag: false,
    logRequest: null,
    logRequestParams: null,
    logResponse: null,
    log4XXResponses: false,
    routes: [
      {
        path: "/hello",
        mappingPolicy: "restrict",
        aliases: { "GET /": "bench.hello" },
        authentication: full,
        use: full ? [observe] : [],
        bodyParsers: false,
      },
      { path: "/metrics", mappingPolicy: "restrict", aliases: { "GET /": async (req, res) => res.end(await metrics()) } },
    ],
  },
  methods: {
    authenticate(ctx, route, req) {
      try {
        return caller(req.headers.authorization);
      } catch (error) {
        throw new ApiGateway.Errors.UnAuthorizedError(error.message);
      }
    },
  },
};

broker.createService(role === "worker" ? worker : front);
await broker.start();
