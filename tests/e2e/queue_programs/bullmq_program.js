// BullMQ: its own workers; results, retries, delays, priorities, a flow, events, a rate limit.
//     node bullmq_program.js PORT
const assert = require("node:assert");
const { FlowProducer, Queue, QueueEvents, Worker } = require("bullmq");

async function main() {
  const connection = { host: "127.0.0.1", port: Number(process.argv[2]), maxRetriesPerRequest: null };
  const queue = new Queue("jobs", { connection });
  const events = new QueueEvents("jobs", { connection });
  await events.waitUntilReady();
  const done = [];
  const tries = {};
  const worker = new Worker(
    "jobs",
    async (job) => {
      if (job.name === "add") return job.data.left + job.data.right;
      if (job.name === "fail") throw new Error("as expected");
      if (job.name === "sum") {
        const parts = Object.values(await job.getChildrenValues());
        return parts.reduce((sum, part) => sum + part, 0);
      }
      tries[job.id] = (tries[job.id] ?? 0) + 1;
      if (tries[job.id] < 3) throw new Error(`try ${tries[job.id]}`);
      await job.updateProgress(50);
      return tries[job.id];
    },
    { connection, concurrency: 4 },
  );
  worker.on("error", (error) => { console.error(error); process.exit(1); });
  const added = await queue.addBulk(
    Array.from({ length: 50 }, (_, n) => ({ name: "add", data: { left: n, right: n } })),
  );
  for (const [n, job] of added.entries()) assert.equal(await job.waitUntilFinished(events, 30000), 2 * n);
  const retried = await queue.add("retry", {}, { attempts: 3, backoff: { type: "fixed", delay: 20 } });
  assert.equal(await retried.waitUntilFinished(events, 30000), 3);
  const failed = await queue.add("fail", {});
  await assert.rejects(failed.waitUntilFinished(events, 30000), /as expected/);
  const delayed = await queue.add("add", { left: 1, right: 1 }, { delay: 200 });
  assert.equal(await delayed.waitUntilFinished(events, 30000), 2);
  assert.equal(await queue.getFailedCount(), 1);
  assert.equal(await queue.getCompletedCount(), 52);

  await queue.pause();
  for (const priority of [3, 1, 2]) await queue.add("add", { left: priority, right: 0 }, { priority });
  const all = new Promise((resolve) => {
    worker.on("completed", (job) => { if (done.push(job.opts.priority) === 4) resolve(); });
  });
  await queue.add("add", { left: 9, right: 0 }, { priority: 9 });
  await queue.resume();
  await all;
  assert.deepEqual([...done].sort(), [1, 2, 3, 9]);

  const flows = new FlowProducer({ connection });
  const flow = await flows.add({
    name: "sum",
    queueName: "jobs",
    children: [1, 2, 3].map((n) => ({ name: "add", queueName: "jobs", data: { left: n, right: n } })),
  });
  assert.equal(await flow.job.waitUntilFinished(events, 30000), 12);

  const counts = await queue.getJobCounts("waiting", "active", "delayed");
  assert.deepEqual(counts, { waiting: 0, active: 0, delayed: 0 });
  await worker.close();
  await events.close();
  await flows.close();
  await queue.obliterate({ force: true });
  await queue.close();
  console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
