// So many callers, each asking again as soon as it was answered: sides/closed_loop.py in Node.
const IN_FLIGHT = 64;
const WARM_UP_MS = 1000;

export async function closedLoop(ask, seconds) {
  const took = [];
  const begin = performance.now() + WARM_UP_MS;
  const end = begin + seconds * 1000;
  let number = 0;
  async function caller() {
    for (let askedAt = performance.now(); askedAt < end; askedAt = performance.now()) {
      const question = `{"word":"${number++}"}`;
      const answer = await ask(Buffer.from(question));
      const answeredAt = performance.now();
      if (answer.toString() !== question) throw new Error(`asked ${question}, answered ${answer}`);
      if (askedAt >= begin && answeredAt <= end) took.push(answeredAt - askedAt);
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  took.sort((a, b) => a - b);
  const quantile = (share) => took[Math.floor(took.length * share)];
  console.log(JSON.stringify({ "requests/s": took.length / seconds, "p50 ms": quantile(0.5), "p99 ms": quantile(0.99) }));
}
