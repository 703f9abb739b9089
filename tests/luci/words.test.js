// The sentences: what the page makes of documents that a daemon here cannot be brought to send, and of addresses that a WAN may have.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const { World, says } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

const address = (family, state) => ({ address: family === 'ipv4' ? '192.0.2.1:443' : '[2001:db8::1]:443', family: family, state: state });
const dc = (id, four, six) => ({ id: id, media: id < 0, created: 1, failed: 0, addresses: [ address('ipv4', four), address('ipv6', six) ] });
const all = make => ({ dcs: [ 1, 2, 3, 4, 5 ].map(make) });

test('the verdict and its notes', async () => {
	const page = await world.page();

	await world.open(page, 'overview');

	const of = (status, dcs) => page.evaluate(async ([ status, dcs ]) => {
		return (await L.require('mtrelay.verdict')).of(status, dcs);
	}, [ status, dcs ]);

	let said = await of({}, { dcs: [ dc(1, 'ok', 'ok'), dc(2, 'ok', 'cooling'), dc(3, 'ok', 'ok'), dc(4, 'ok', 'ok'), dc(5, 'ok', 'ok') ] });

	assert.strictEqual(said.text, 'Telegram works: 5 of 5 data centres.');
	assert.deepStrictEqual(said.notes, [ { level: 'note', text: 'DC 2 does not answer over IPv6, IPv4 is used.' } ]);

	said = await of({}, all(id => dc(id, 'ok', 'cooling')));
	assert.deepStrictEqual(said.notes.map(note => note.text), [ 'No data centre answers over IPv6, IPv4 is used.' ]);

	said = await of({}, all(id => dc(id, 'cooling', 'ok')));
	assert.deepStrictEqual(said.notes.map(note => note.text), [ 'No data centre answers over IPv4, IPv6 is used.' ]);

	said = await of({}, all(id => dc(id, 'cooling', 'cooling')));
	assert.deepStrictEqual([ said.level, said.text ], [ 'bad', 'Telegram does not work: none of the data centres tried so far answers.' ]);

	said = await of({}, { dcs: all(id => dc(id, id === 3 ? 'cooling' : 'ok', id === 3 ? 'cooling' : 'ok')).dcs });
	assert.deepStrictEqual([ said.level, said.text ], [ 'bad', 'Telegram works in part: data centre 3 does not answer, 4 of 5 do.' ]);

	said = await of({}, { dcs: all(id => dc(id, 'ok', 'ok')).dcs.concat([ dc(-4, 'cooling', 'cooling') ]) });
	assert.deepStrictEqual([ said.level, said.text ],
		[ 'bad', 'Telegram works, but media of data centre 4 does not load: it does not answer.' ]);

	said = await of({}, { dcs: all(id => dc(id, 'ok', 'ok')).dcs.concat([ dc(-4, 'ok', 'untried') ]) });
	assert.deepStrictEqual([ said.level, said.text ], [ 'good', 'Telegram works: 5 of 5 data centres, media included.' ]);

	said = await of({
		clock: { synced: false, refused: 0 }, config: { rejected: 1 }, closes: { limit: 2 }, buffers: { in_use: 4, count: 4, waits: 1 }
	}, all(id => dc(id, 'untried', 'untried')));
	assert.match(said.text, /^Ready: /);
	assert.deepStrictEqual(said.notes.map(note => note.text.split(':')[0].split(',')[0]), [
		'Clock not set yet', 'A changed configuration was refused', 'All relay buffers are in use', '2 sessions were refused because a limit was reached.'
	]);

	said = await of({ clock: { synced: true, refused: 9, last_offset_s: -86400 } }, {});
	assert.match(said.notes[0].text, /^9 handshakes were refused because clocks differ, the last one by -86400 seconds\./);

	for (const odd of [ null, [], 'x', { dcs: 7 }, { dcs: [ null, 3, { id: 'x' }, { id: 2 } ] } ])
		assert.strictEqual(typeof((await of(odd, odd)).text), 'string');
});

test('what kind of address the WAN has', async () => {
	const page = await world.page();

	await world.open(page, 'overview');

	const kinds = await page.evaluate(async () => {
		const reach = await L.require('mtrelay.reach');

		return [
			'8.8.8.8', '100.63.255.255', '100.64.0.1', '100.127.255.254', '100.128.0.1', '192.0.0.2', '10.1.2.3', '172.16.0.1', '172.32.0.1',
			'192.168.1.1', '169.254.1.1', '127.0.0.1', '2001:db8::1', 'fd00::1', 'fe80::1', 'nonsense', null
		].map(reach.kindOf);
	});

	assert.deepStrictEqual(kinds, [
		'public', 'public', 'cgnat', 'cgnat', 'public', 'cgnat', 'private', 'private', 'public',
		'private', 'local', 'local', 'public', 'local', 'local', 'none', 'none'
	]);
});

const wan = (four, six) => ({ 'network.interface.dump': { answer: { interface: [
	{ interface: 'lan', up: true, route: [], 'ipv4-address': [ { address: '192.168.1.1', mask: 24 } ] },
	{
		interface: 'wan', up: true, route: [ { target: '0.0.0.0', mask: 0 }, { target: '::', mask: 0 } ],
		'ipv4-address': four ? [ { address: four, mask: 24 } ] : [], 'ipv6-address': six ? [ { address: 'fd00::7', mask: 64 }, { address: six, mask: 64 } ] : []
	}
] } } });

test('whether the router can be reached, in words', async () => {
	const page = await world.page();
	const file = async change => {
		const text = (await world.control('export', {})).text;

		await world.control('uci', { config: 'mtrelay', text: change(text) });
	};

	await world.control('instead', wan('100.72.1.2', null));
	await world.open(page, 'overview');
	await says(page, 'The WAN address 100.72.1.2 is shared by the provider among many customers (CGNAT)');
	await says(page, 'is closed on the WAN: only devices at home can connect.');
	await says(page, 'Links and QR codes show home.example.net, port ');

	await world.control('instead', wan('192.168.178.20', '2001:db8::7'));
	await file(text => text.replace("option link_host 'home.example.net'", "option link_host 'home.example.net'\n\toption open_wan '1'"));
	await world.open(page, 'overview');
	await says(page, 'another router stands in front of this one. Forward TCP port ');
	await says(page, 'The WAN address 2001:db8::7 is public: clients with IPv6');
	await says(page, 'is open on the WAN: the service opens it while it runs.');

	const port = /'127.0.0.1:(\d+)'/.exec((await world.control('export', {})).text)[1];

	await world.control('instead', wan('203.0.113.9', null));
	await file(text => text.replace("option link_host 'home.example.net'", '').replace("option open_wan '1'", '').replace('127.0.0.1:' + port, '0.0.0.0:' + port));
	await world.control('uci', { config: 'firewall', text: `config rule\n\toption src 'wan'\n\toption proto 'tcp'\n\toption dest_port '${port}'\n\toption target 'ACCEPT'\n` });
	await world.open(page, 'overview');
	await says(page, 'The WAN address 203.0.113.9 is public');
	await says(page, 'by a firewall rule of yours');
	await says(page, `Links and QR codes show 203.0.113.9, port ${port}. If that address changes`);

	await world.control('instead', wan(null, null));
	await world.open(page, 'overview');
	await says(page, 'The router has no IPv4 address on the WAN.');
	await says(page, 'Links and QR codes show 127.0.0.1, which only works at home.');
	assert.deepStrictEqual(await world.complaints(page), []);
});
