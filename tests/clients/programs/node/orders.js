// An order service that is busy for some seconds under Pyroscope's SDK: `orders.js URL NAME`.
'use strict'

const Pyroscope = require('@pyroscope/nodejs')

const kept = []

function priceOrders (until) {
  let total = 0
  while (Date.now() < until) {
    for (let number = 0; number < 10000; number++) total += number * 0.5
  }
  return total
}

async function main () {
  Pyroscope.init({
    serverAddress: process.argv[2],
    appName: process.argv[3],
    tags: { region: 'eu' },
    flushIntervalMs: 1000,
    wall: { collectCpuTime: true }
  })
  Pyroscope.start()
  // In turns, so that the SDK's own timer comes between.
  for (let turn = 0; turn < 30; turn++) {
    priceOrders(Date.now() + 80)
    // Some megabytes in all: the SDK samples one allocation in 512 kB.
    for (let order = 0; order < 100; order++) kept.push(new Array(2000).fill(order + 0.5))
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  // Two flushes more, and no stop(): the SDK's may fall between a timer of its own and the profile that is then due,
  // which ends the program with "Heap profiler is not enabled".
  await new Promise(resolve => setTimeout(resolve, 2500))
  process.exit(0)
}

main().catch(error => { console.error(error); process.exit(1) })
