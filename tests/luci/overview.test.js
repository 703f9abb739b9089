// The overview against the true daemon: its verdict, its numbers, and what it says when there is no daemon, an older one, or a failing
// router.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const { World, says } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

async function useEverything(bytes) {
	for (const dc of [ 1, 2, 3, 4, 5, -2 ])
		await world.control('open', { dc: dc, bytes: bytes });
}

const verdict = page => page.locator('.mtrelay-said').first().innerText();

test('the verdict follows what the daemon sees', async () => {
	const page = await world.page();

	await world.open(page, 'overview');
	assert.match(await verdict(page), /^Ready: /);
	await world.control('open', { dc: 2, bytes: 1000 });
	await says(page, 'Telegram works: 1 of 5 data centres used so far, all of them answer.');
	await useEverything(1000);
	await says(page, 'Telegram works: 5 of 5 data centres, media included.');
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('the verdict of a data centre that refuses names it', async () => {
	const page = await world.page();

	await world.control('uci', { config: 'mtrelay', text: (await world.control('export', {})).text
		.replace(/list address '[^']*'/, "list address '127.0.0.1:9'") });
	await useEverything(0).catch(() => {});
	await world.control('open', { dc: 2, bytes: 10 });
	await world.control('open', { dc: 1, bytes: 10 }).catch(() => {});
	await world.open(page, 'overview');
	await says(page, 'data centre 1 does not answer');
	assert.ok(await page.locator('.mtrelay-callout.mtrelay-bad').isVisible());
	assert.ok(await page.locator('.mtrelay-dcs [data-tooltip]').count() > 0, 'the failure is explained');
});

test('throughput is drawn, and counters count since the start and per minute', async () => {
	const page = await world.page({ poll: 1 });

	await page.clock.install();
	await world.open(page, 'overview');
	await page.waitForSelector('.mtrelay-plot svg');

	for (let step = 0; step < 12; step++) {
		await world.control('open', { dc: 1 + step % 5, bytes: 50000 });

		const answered = page.waitForResponse(answer => answer.url().includes('/ubus'));

		await page.clock.runFor(1100);
		await answered;
	}

	await page.waitForFunction(() => document.querySelectorAll('.mtrelay-line.mtrelay-down').length > 0);

	const path = await page.locator('.mtrelay-line.mtrelay-down').first().getAttribute('d');

	assert.match(path, /^M[\d.]+,[\d.]+(L[\d.]+,[\d.]+){4,}$/);
	assert.match(await page.locator('.mtrelay-plot svg').getAttribute('aria-label'), /now .* down, .* up/);

	const session = await world.control('open', { dc: 2, bytes: 10 });

	await world.control('close', session);

	const row = page.locator('.mtrelay-words tr', { has: page.getByText('client_closed', { exact: true }) });
	const total = row.locator('.mtrelay-number').first();

	for (let step = 0; step < 20 && await total.innerText() !== '1'; step++) {
		const answered = page.waitForResponse(answer => answer.url().includes('/ubus'));

		await page.clock.runFor(1100);
		await answered;
	}

	assert.strictEqual(await total.innerText(), '1');
	assert.match(await row.locator('.mtrelay-number').last().innerText(), /^[1-9]/);
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('every word of the counters is there, and says by keyboard what it means', async () => {
	const page = await world.page();

	await world.open(page, 'overview');
	await page.waitForSelector('.mtrelay-words td');

	const words = await page.locator('.mtrelay-words tbody th').allInnerTexts();

	assert.deepStrictEqual(words, [
		'refused', 'timeout', 'unreachable', 'reset', 'other',
		'client_closed', 'client_reset', 'dc_closed', 'dc_reset', 'client_timeout', 'dc_timeout', 'idle_timeout', 'connect_failed',
		'unknown_dc', 'limit', 'quota', 'expired', 'user_disabled', 'shutdown', 'error',
		'bad_secret', 'bad_tag', 'replay', 'clock_skew', 'timeout', 'malformed', 'mode_disabled', 'closed', 'bad_sni', 'blocked', 'budget'
	]);

	const terms = page.locator('.mtrelay-words tbody .mtrelay-term');

	assert.strictEqual(await terms.count(), words.length);
	await page.getByText('replay', { exact: true }).focus();
	await page.waitForFunction(() => [ ...document.querySelectorAll('.cbi-tooltip') ].some(tip => tip.innerText.includes('recorded and sent again')));
});

test('media stands apart, with numbers of its own', async () => {
	const page = await world.page();

	await world.control('open', { dc: -4, bytes: 70000 });
	await world.control('open', { dc: 4, bytes: 100 });
	await world.open(page, 'overview');
	await page.waitForSelector('.mtrelay-dcs table');

	const tables = page.locator('.mtrelay-dcs table');
	const cells = async (at, name) => tables.nth(at).locator('tr', { has: page.getByText(name, { exact: true }) }).locator('td').allInnerTexts();
	const [ , mediaState, , mediaActive ] = await cells(1, 'DC 4, media');

	assert.strictEqual(await tables.count(), 2);
	assert.deepStrictEqual([ mediaState, mediaActive ], [ 'works', '1' ]);
	assert.strictEqual((await cells(1, 'DC 4, media'))[7], '68.4 KiB / 68.4 KiB');
	assert.strictEqual((await cells(0, 'DC 4'))[7], '100 B / 100 B');
});

test('a hidden tab asks for nothing, and catches up when it is seen again', async () => {
	const page = await world.page();
	const hide = hidden => page.evaluate(value => {
		Object.defineProperty(document, 'hidden', { get: () => value, configurable: true });
		document.dispatchEvent(new Event('visibilitychange'));
	}, hidden);

	await page.clock.install();
	await world.open(page, 'overview');
	await hide(true);
	await page.clock.runFor(3000);
	await world.control('calls');
	await page.clock.runFor(60000);
	assert.deepStrictEqual((await world.control('calls')).filter(call => call.object === 'mtrelay'), []);

	const answered = page.waitForResponse(answer => answer.url().includes('/ubus'));

	await hide(false);
	await answered;
	assert.ok((await world.control('calls')).some(call => call.object === 'mtrelay' && call.method === 'status'));
});

test('without the daemon the page says so and starts it, by keyboard alone', async () => {
	const page = await world.page();

	await world.control('service', { action: 'stop' });
	await world.open(page, 'overview');
	assert.strictEqual(await verdict(page), 'The relay is not running.');

	for (let step = 0; step < 40; step++) {
		await page.keyboard.press('Tab');

		if (await page.evaluate(() => document.activeElement.getAttribute('data-key')) === 'start')
			break;
	}

	await page.keyboard.press('Enter');
	await says(page, 'Ready: ');
	assert.ok(await page.locator('.mtrelay-cards').isVisible());
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a daemon that goes away and comes back is noticed', async () => {
	const page = await world.page();

	await world.open(page, 'overview');
	await says(page, 'Ready: ');
	await world.control('service', { action: 'stop' });
	await says(page, 'The relay is not running.');
	await world.control('service', { action: 'start' });
	await says(page, 'Ready: ');
});

test('a daemon older than the page leaves gaps and no errors', async () => {
	const page = await world.page();

	await world.control('instead', {
		'mtrelay.status': { answer: { version: '0.0.1', uptime: 7, sessions: { active: 1 } } },
		'mtrelay.dcs': { code: 3 }, 'mtrelay.sessions': { code: 3 }
	});
	await world.open(page, 'overview');
	await says(page, 'version 0.0.1');
	await page.getByText('Live sessions', { exact: true }).click();
	await says(page, 'older than this page');

	const text = await page.locator('#view').innerText();

	assert.doesNotMatch(text, /NaN|undefined|null|\[object/);
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a daemon newer than the page shows words that the page does not know', async () => {
	const page = await world.page();

	await world.control('instead', { 'mtrelay.status': { answer: {
		version: '9', uptime: 1, bytes: { up: 1, down: 1 }, closes: { client_closed: 1, eaten_by_dog: 3 }, rejects: {}, connect_failures: {}
	} } });
	await world.open(page, 'overview');
	await says(page, 'eaten_by_dog');
});

test('requests that fail show a message, and the page goes on when they no longer do', async () => {
	const page = await world.page();

	await world.control('instead', { 'mtrelay.status': { http: 502 } });
	await world.open(page, 'overview');
	await says(page, 'The router did not answer: ');
	await world.control('instead', {});
	await says(page, 'Ready: ');
	await world.control('instead', { 'mtrelay.status': { code: 7 } });
	await says(page, 'The relay took too long to answer.');
});

test('thousands of sessions and hundreds of users are asked for in pages', async () => {
	const page = await world.page();
	const session = at => ({
		user: 'family', client: '192.168.1.' + at % 250, dc: 2, address: '149.154.167.51:443', age: at, bytes: { up: at, down: at }, route: 'copy'
	});
	const user = at => ({ name: 'user' + at, active: at, total: at, bytes: { up: 1, down: at }, rejects: 0, expires: null });

	await world.control('instead', {
		'mtrelay.sessions': { answer: { total: 2000, sessions: Array.from({ length: 20 }, (_, at) => session(at)) } },
		'mtrelay.users': { answer: { users: Array.from({ length: 200 }, (_, at) => user(at)) } }
	});
	await world.open(page, 'overview');
	await world.control('calls');
	await page.getByText('Live sessions', { exact: true }).click();
	await says(page, '1 to 20 of 2000');
	await page.locator('[data-key="sessions-forth"]').click();
	await says(page, '21 to 40 of 2000');

	const asked = (await world.control('calls')).filter(call => call.method === 'sessions').map(call => call.args);

	assert.ok(asked.every(args => args.limit === 20));
	assert.ok(asked.some(args => args.offset === 20));
	await page.locator('details summary').last().click();
	await says(page, 'user199');
	assert.ok(await page.locator('.mtrelay-table tr').count() < 100);
});

test('a viewer sees counters, no secret, and nothing to press', async () => {
	const page = await world.page({ login: 'viewer' });

	await world.control('open', { dc: 2, bytes: 1000 });
	await world.open(page, 'overview');
	await says(page, 'Telegram works');
	await page.locator('details summary').last().click();
	await says(page, 'family');
	assert.strictEqual(await page.locator('[data-key="start"]').count(), 0);

	const calls = await world.control('calls');

	assert.deepStrictEqual(calls.filter(call => call.object === 'uci' && [ 'mtrelay', 'firewall' ].includes(call.args.config)), []);
	await world.control('service', { action: 'stop' });
	await says(page, 'The relay is not running.');
	assert.strictEqual(await page.locator('[data-key="start"]').count(), 0);

	for (const tab of [ 'users', 'dcs', 'settings' ])
		assert.strictEqual((await page.goto(world.url(tab))).status(), 403);

	assert.deepStrictEqual(await world.complaints(page), []);
});

test('the box on the status page says the same in short', async () => {
	const page = await world.page();

	await useEverything(1000);
	await world.open(page, 'status');
	await says(page, 'Telegram works: 5 of 5 data centres, media included.');
	await says(page, 'Sessions: 6.');
	assert.match(await page.locator('.mtrelay-box a').getAttribute('href'), /services\/mtrelay\/overview$/);
});
