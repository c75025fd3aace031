// A program as a user of npm's `etcd3` writes one; run by test_other_clients.py. Prints "ok NAME" for each thing
// that went as that client's documentation says.
'use strict';
const assert = require('node:assert');
const { Etcd3 } = require('etcd3');

const client = new Etcd3({ hosts: `http://${process.argv[2]}` });

async function kv() {
  await client.put('foo').value('bar');
  assert.equal(await client.get('foo').string(), 'bar');
  await client.put('f/1').value('1');
  await client.put('f/2').value('2');
  assert.deepEqual(await client.getAll().prefix('f/').strings(), { 'f/1': '1', 'f/2': '2' });
  assert.deepEqual(await client.getAll().prefix('f/').sort('Key', 'Descend').keys(), ['f/2', 'f/1']);
  assert.equal(await client.getAll().prefix('f/').count(), 2);
  await client.delete().prefix('f/');
  assert.equal(await client.get('f/1'), null);
}

async function transactions() {
  const outcome = await client
    .if('foo', 'Value', '==', 'bar')
    .then(client.put('foo').value('baz'))
    .else(client.put('foo').value('wrong'))
    .commit();
  assert.equal(outcome.succeeded, true);
  assert.equal(await client.get('foo').string(), 'baz');
  await client.stm().transact((tx) => tx.get('foo').string().then((was) => tx.put('foo').value(was + '!')));
  assert.equal(await client.get('foo').string(), 'baz!');
}

async function watches() {
  const watcher = await client.watch().prefix('w/').create();
  const seen = new Promise((resolve) => {
    const events = [];
    watcher.on('put', (kv) => events.push(`put ${kv.key}`));
    watcher.on('delete', (kv) => { events.push(`delete ${kv.key}`); if (events.length === 3) resolve(events); });
  });
  await client.put('w/a').value('1');
  await client.put('w/b').value('2');
  await client.delete().key('w/a');
  assert.deepEqual(await seen, ['put w/a', 'put w/b', 'delete w/a']);
  await watcher.cancel();
}

async function leasesAndLocks() {
  const lease = client.lease(10);
  await lease.put('leased').value('x');
  assert.equal(await client.get('leased').string(), 'x');
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.equal(await client.get('leased'), null);
  await client.lock('printer').ttl(10).do(async () => {
    await assert.rejects(client.lock('printer').ttl(10).acquire());
  });
}

async function elections() {
  const election = client.election('boss', 10);
  const campaign = election.campaign('me');
  await new Promise((resolve, reject) => { campaign.on('elected', resolve); campaign.on('error', reject); });
  assert.equal(await election.leader(), 'me');
  await campaign.resign();
}

async function maintenance() {
  const { members } = await client.cluster.memberList({});
  assert.equal(members.length, 1);
  const status = await client.maintenance.status({});
  assert.equal(status.leader, members[0].ID);
}

(async () => {
  for (const task of [kv, transactions, watches, leasesAndLocks, elections, maintenance]) {
    await task();
    console.log('ok', task.name);
  }
  client.close();
})().catch((problem) => { console.error(problem); process.exit(1); });
