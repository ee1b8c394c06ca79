// BullMQ's side of `make bench-queue`; the commands are those of tests/src/bin/bench_queue/side.rs.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

const NAME = 'measured'
const BULK = 1000
const BIN_US = 10_000
// As many finished jobs as the product keeps.
const removeOnComplete = { count: 10_000 }

const url = new URL(process.env.BENCH_REDIS_URL)
const connection = {
  host: url.hostname,
  port: Number(url.port),
  username: url.username || undefined,
  password: decodeURIComponent(url.password),
  db: Number(url.pathname.slice(1)),
  maxRetriesPerRequest: null,
}
const concurrency = Number(process.env.BENCH_CONCURRENCY)
const queue = new Queue(NAME, { connection })
let working

const now_us = () => Math.round((performance.timeOrigin + performance.now()) * 1000)
const answer = said => process.stdout.write(`${JSON.stringify(said)}\n`)
const add = () => queue.add(NAME, { added_us: now_us() })

async function timed(jobs, act) {
  const started = performance.now()
  await act()
  return { jobs, seconds: (performance.now() - started) / 1000 }
}

function addFrom(callers, jobs) {
  let left = jobs
  const call = async () => {
    while (left > 0) {
      left -= 1
      await add()
    }
  }
  return timed(jobs, () => Promise.all(Array.from({ length: callers }, call)))
}

function addMany(jobs) {
  return timed(jobs, async () => {
    for (let left = jobs; left > 0; left -= BULK) {
      const some = Array.from({ length: Math.min(left, BULK) }, () => ({ name: NAME, data: { added_us: now_us() } }))
      await queue.addBulk(some)
    }
  })
}

function load(rate, seconds) {
  const jobs = Math.floor(rate * seconds)
  return timed(jobs, async () => {
    const started = performance.now()
    const calls = []
    while (calls.length < jobs) {
      const due = Math.min(jobs, Math.floor(((performance.now() - started) / 1000) * rate))
      while (calls.length < due) calls.push(add())
      await sleep(1)
    }
    await Promise.all(calls)
  })
}

async function empty() {
  for (;;) {
    const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized')
    if (Object.values(counts).every(count => count === 0)) return { at_us: now_us() }
    await sleep(2)
  }
}

function go(kind, keepsLatencies) {
  const counts = { handled: 0, first_us: null, last_us: 0, paused_us: 0, bin_us: BIN_US, bins: new Map(), latencies_us: [] }
  const run = async job => {
    const started = now_us()
    if (kind === '1ms') await sleep(1)
    counts.first_us ??= started
    if (keepsLatencies) counts.latencies_us.push(Math.max(0, started - job.data.added_us))
    counts.last_us = now_us()
    counts.paused_us += counts.last_us - started
    const bin = Math.floor(counts.last_us / BIN_US)
    counts.bins.set(bin, (counts.bins.get(bin) ?? 0) + 1)
    counts.handled += 1
  }
  const worker = new Worker(NAME, run, { connection, concurrency, removeOnComplete })
  worker.on('error', error => console.error(error))
  const progress = setInterval(() => answer({ handled: counts.handled }), 20)
  working = { worker, counts, progress }
}

async function stop() {
  const { worker, counts, progress } = working
  await worker.close()
  clearInterval(progress)
  return { stopped: { ...counts, bins: [...counts.bins] } }
}

async function obey(line) {
  const [command, ...rest] = line.trim().split(/\s+/)
  const [first, second] = rest.map(Number)
  switch (command) {
    case 'add': return addFrom(second, first)
    case 'add_many':
    case 'fill': return addMany(first)
    case 'load': return load(first, second)
    case 'empty': return empty()
    case 'clear': {
      const redis = new Redis(connection)
      await redis.flushdb()
      await redis.quit()
      return { cleared: true }
    }
    case 'go': return go(rest[0], rest.includes('latencies'))
    case 'stop': return stop()
    default: throw new Error(`\`${line}\` is no command`)
  }
}

await queue.waitUntilReady()
const { version } = createRequire(import.meta.url)('bullmq/package.json')
answer({ ready: `BullMQ ${version}, Node ${process.versions.node}` })
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const said = await obey(line)
    if (said) answer(said)
  } catch (error) {
    answer({ error: String(error) })
  }
}
process.exit(0)
