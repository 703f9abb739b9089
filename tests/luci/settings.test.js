// Settings: every option of the file, the daemon's defaults as placeholders, what is refused, and what is applied without dropping anyone.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const { World, says, field, fill, tab, saveAndApply } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

const saved = async () => (await world.control('export', {})).text;

test('every option has its field, and the default stands in it', async () => {
	const page = await world.page();

	await world.control('uci', { config: 'mtrelay', text: "config relay 'main'\n" });
	await world.open(page, 'settings');

	const specs = await page.evaluate(async () => {
		const { relay } = await L.require('mtrelay.schema');

		return Object.keys(relay).map(name => ({ name: name, kind: relay[name].kind, standard: relay[name].standard }));
	});

	assert.ok(specs.length > 35);

	for (const { name, kind, standard } of specs) {
		assert.strictEqual(await field(page, name).count(), 1, name);

		if (kind === 'flag')
			assert.strictEqual(await field(page, name).locator('input[type="checkbox"]').first().isChecked(), standard === '1', name);
		else if (kind !== 'choice' && standard !== '')
			assert.strictEqual(await field(page, name).locator('input[placeholder]').last().getAttribute('placeholder'), standard, name);
	}

	const shown = await page.evaluate(() => [ 'prefer_ipv6', 'log_level' ].map(name => document.querySelector(`[data-name="${name}"] select`).value));

	assert.deepStrictEqual(shown, [ 'auto', 'info' ]);
});

test('saving what nobody touched changes nothing', async () => {
	const page = await world.page();
	const before = await saved();

	await world.open(page, 'settings');


	const button = page.locator('.cbi-page-actions .cbi-button-save');

	// It is disabled as long as something is being saved.
	await button.click();
	await page.waitForFunction(() => !document.querySelector('.cbi-page-actions .cbi-button-save').disabled);
	assert.deepStrictEqual((await world.control('call', { object: 'uci', method: 'changes', args: {} })).changes, {});
	assert.strictEqual(await saved(), before);
});

const BAD = [
	[ 'general', 'link_host', 'home.example.net:8443' ], [ 'general', 'link_port', '65536' ], [ 'general', 'listen', '8443' ],
	[ 'front', 'front_domain', 'https://example.org/' ], [ 'front', 'front_address', 'example.org' ], [ 'front', 'clock_skew', 'soon' ],
	[ 'access', 'allow', '192.168.1.0/33' ], [ 'access', 'allow_file', 'list' ], [ 'access', 'max_sessions', '0' ],
	[ 'network', 'fwmark', '0x1ffffffff' ], [ 'network', 'bind_interface', 'a/b' ], [ 'memory', 'buffers', '-1' ],
	[ 'memory', 'socket_memory_mb', '4096' ], [ 'timeouts', 'idle_timeout', '1e3' ], [ 'service', 'stats_listen', '8888' ]
];

test('a bad value is refused, its field marked, and nothing is written', async () => {
	const page = await world.page();
	const before = await saved();

	for (const [ place, name, value ] of BAD) {
		await world.open(page, 'settings');
		await tab(page, place);
		await fill(page, name, value);
		await field(page, name).locator('.cbi-input-invalid').first().waitFor();

		if (name === 'listen' || name === 'allow')
			continue;

		await page.locator('.cbi-page-actions .cbi-button-apply').first().click();
		await page.waitForSelector('.modal');
		assert.match(await page.locator('.modal').innerText(), /contains an invalid input value/, name);
		assert.ok(await field(page, name).locator('.cbi-input-invalid').first().isVisible(), `${name} is marked`);
	}

	assert.strictEqual(await saved(), before);
});

test('a good value is applied, and a session that is open goes on', async () => {
	const page = await world.page();
	const { session } = await world.control('open', { dc: 2, bytes: 1000 });

	await world.open(page, 'settings');
	await tab(page, 'timeouts');
	await fill(page, 'idle_timeout', '1234');
	await saveAndApply(page);
	assert.match(await saved(), /\toption idle_timeout '1234'\n/);
	await world.control('echo', { session: session, bytes: 100000 });

	const status = await world.control('call', { method: 'status', args: {} });

	assert.strictEqual(status.sessions.active, 1);
	assert.strictEqual(status.config.reloads, 1);
	assert.strictEqual(status.config.rejected, 0);
	assert.ok(status.bytes.up >= 101000);
	assert.strictEqual(await field(page, 'idle_timeout').locator('input').first().inputValue(), '1234');
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a value goes back to its default when its field is emptied', async () => {
	const page = await world.page();

	await world.open(page, 'settings');
	await fill(page, 'link_host', '');
	await tab(page, 'service');
	await field(page, 'log_level').locator('select').selectOption('info');
	await saveAndApply(page);

	const text = await saved();

	assert.doesNotMatch(text, /link_host|log_level/);
	assert.match(text, /option front_domain 'www\.example\.org'/);
});

test('statistics that are off stay off', async () => {
	const page = await world.page();

	await world.control('uci', { config: 'mtrelay', text: (await saved()).replace(/option stats_listen '[^']*'/, "option stats_listen ''") });
	await world.open(page, 'settings');
	await tab(page, 'service');
	assert.strictEqual(await field(page, 'stats_listen').locator('input').first().inputValue(), '0');
	await tab(page, 'general');
	await fill(page, 'link_host', 'other.example.net');
	await saveAndApply(page);
	assert.match(await saved(), /option stats_listen '0?'\n/);
});

test('opening the WAN comes with a warning', async () => {
	const page = await world.page();

	await world.open(page, 'settings');
	assert.ok(!(await page.locator('#view').innerText()).includes('Anyone on the Internet'));
	await field(page, 'open_wan').locator('input[type="checkbox"]').check({ force: true });
	await says(page, 'Anyone on the Internet can then connect to these ports.');
	await saveAndApply(page);
	assert.match(await saved(), /option open_wan '1'/);
});

test('a file without its section becomes one with the first change', async () => {
	const page = await world.page();

	await world.control('uci', { config: 'mtrelay', text: '' });
	await world.open(page, 'settings');
	await fill(page, 'link_host', 'new.example.net');
	await saveAndApply(page);
	assert.match(await saved(), /config relay 'main'\n\toption link_host 'new\.example\.net'\n/);
});

test('settings are there without the daemon, and say so', async () => {
	const page = await world.page();

	await world.control('service', { action: 'stop' });
	await world.open(page, 'settings');
	await says(page, 'The relay is not running.');
	assert.ok(await field(page, 'listen').isVisible());
});
