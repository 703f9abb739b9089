// Text that wants to be markup, from everywhere that text comes from: it has to stand there as text. And the page in every language, on a
// narrow screen, by keyboard.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const { World, says, tab } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

const TABS = [ 'overview', 'users', 'dcs', 'settings', 'log' ];

// Three ways out of text: an element, an attribute, a script. `window.hacked` tells that one of them worked.
const EVIL = [ '<img src=x onerror=window.hacked=1>', '"><svg onload=window.hacked=1>', '<script>window.hacked=1</script>' ];

const isHacked = page => page.evaluate(() => window.hacked === 1 || document.querySelector('#view img, #view script, .modal img, .modal script') !== null);

test('script in names, domains, addresses, errors and log lines shows as text', async () => {
	const page = await world.page();
	const secret = at => `${at}`.repeat(2) + '6ab1f50c3e9d27884fd2b0179ce35a';
	const text = (await world.control('export', {})).text;
	const quoted = value => `'${value.split("'").join("'\\''")}'`;
	const users = EVIL.map((name, at) => `\nconfig user\n\toption name ${quoted(name)}\n\toption secret '${secret(at)}'\n\toption expires ${quoted(name)}\n`);
	const dcs = EVIL.map((name, at) => `\nconfig dc\n\toption id ${quoted(at ? '7' : name)}\n\tlist address ${quoted(name)}\n`);

	await world.control('uci', { config: 'mtrelay', text: text
		.replace("'home.example.net'", quoted(EVIL[0])).replace("'www.example.org'", quoted(EVIL[1])) + users.join('') + dcs.join('') });
	await world.control('log', { lines: EVIL.map((line, at) => ({ msg: 'mtrelay[1]: ' + line, id: at, priority: 27, time: 1 })) });

	const address = at => ({ address: EVIL[at], family: EVIL[at], state: at ? 'cooling' : 'ok', rtt_ms: 1, last_error: EVIL[at], retry_in: 3 });

	await world.control('instead', {
		'mtrelay.status': { answer: {
			version: EVIL[0], uptime: 5, sessions: { active: 1 }, bytes: { up: 1, down: 1 },
			closes: { [EVIL[0]]: 1 }, rejects: { [EVIL[1]]: 1 }, connect_failures: { [EVIL[2]]: 1 }
		} },
		'mtrelay.dcs': { answer: { dcs: [ 1, 2, -2, 203 ].map(id => ({ id: id, created: 1, active: 1, addresses: [ 0, 1, 2 ].map(address) })) } },
		'mtrelay.users': { answer: { users: EVIL.map(name => ({ name: name, active: 1, bytes: { up: 1, down: 1 }, expires: name })) } },
		'mtrelay.sessions': { answer: { total: 3, sessions: EVIL.map(name => ({ user: name, client: name, dc: 2, address: name, bytes: {} })) } },
		'mtrelay.check': { answer: { verdict: EVIL[0], addresses: [ { address: EVIL[1], error: EVIL[2] } ] } },
		'network.interface.dump': { answer: { interface: [ {
			interface: 'wan', up: true, route: [ { target: '0.0.0.0', mask: 0 } ], 'ipv4-address': [ { address: EVIL[0] } ]
		} ] } }
	});

	for (const name of TABS.concat([ 'status' ])) {
		await world.open(page, name);

		if (name === 'overview') {
			await page.locator('details summary').first().click();
			await page.locator('details summary').last().click();
			await page.waitForFunction(() => document.querySelectorAll('details table').length === 2);
		}

		if (name === 'users') {
			await page.locator('tr[data-sid]').last().getByRole('button', { name: 'Show' }).click();
			await page.waitForSelector('#mtrelay-host');
			await says(page, EVIL[2]);
		}

		if (name === 'dcs') {
			await page.locator('.mtrelay-table button').first().click();
			await page.waitForSelector('.mtrelay-results table');
		}

		if (name === 'log')
			await says(page, EVIL[2]);

		await page.mouse.move(5, 5);
		assert.ok(name === 'settings' || name === 'status' || (await page.locator('body').innerText()).includes('onerror=window.hacked'), `${name} shows the text`);
		assert.strictEqual(await isHacked(page), false, name);
	}

	// Tooltips and error messages are places for text as well.
	await world.control('instead', { 'mtrelay.status': { code: 2 }, 'mtrelay.dcs': { code: 2 } });
	await world.open(page, 'overview');
	assert.strictEqual(await isHacked(page), false);
});

test('editing a hostile user does not run its name', async () => {
	const page = await world.page();
	const text = (await world.control('export', {})).text;

	await world.control('uci', { config: 'mtrelay', text: text.replace("'family'", `'${EVIL[0]}'`) });
	await world.open(page, 'users');
	await page.locator('tr[data-sid] .cbi-button-edit').first().click();
	await page.waitForSelector('.modal .mtrelay-draw');
	assert.strictEqual(await page.locator('.modal .cbi-value[data-name="name"] input').inputValue(), EVIL[0]);
	assert.strictEqual(await isHacked(page), false);
});

for (const language of [ 'ru', 'zh_Hans', 'fa', 'de' ]) {
	test(`the page speaks ${language}, and runs the right way`, async () => {
		const page = await world.page({ language: language });
		const words = await page.evaluate(() => null).then(() => require('./words.js'));
		const said = new Map(words.readPo(`${words.LUCI}/po/${language}/mtrelay.po`).map(entry => [ entry.id, entry.said ]));

		for (const name of TABS) {
			await world.open(page, name);
			assert.strictEqual(await page.locator('#view .mtrelay').first().getAttribute('dir'), language === 'fa' ? 'rtl' : null);
		}

		await world.open(page, 'overview');
		await says(page, said.get('Can it be reached?'));
		await says(page, said.get('Ready: the relay is running, and no client has connected yet.'));
		await world.open(page, 'settings');
		await says(page, said.get('Whether the relay runs. If not, the service does not start, and mtrelay run ends at once.'));
		assert.deepStrictEqual(await world.complaints(page), []);
	});
}

test('nothing is wider than a phone', async () => {
	for (const language of [ 'en', 'de', 'ru', 'fa' ]) {
		const page = await world.page({ width: 360, height: 740, language: language });

		await world.control('open', { dc: 2, bytes: 100000 });

		for (const name of TABS) {
			await world.open(page, name);

			if (name === 'settings') {
				for (const each of [ 'front', 'network', 'timeouts' ])
					await tab(page, each);
			}

			const widths = await page.evaluate(() => [ document.scrollingElement.scrollWidth, window.innerWidth ]);

			assert.ok(widths[0] <= widths[1], `${language} ${name}: ${widths}`);
		}

		await world.open(page, 'users');
		await page.locator('.mtrelay-live').first().waitFor();
		await page.locator('td[data-name="_links"] button').first().click();
		await page.waitForSelector('.mtrelay-link svg');

		const wide = await page.locator('.mtrelay-link').first().evaluate(box => box.getBoundingClientRect().width);

		assert.ok(wide <= 360, `${language} links: ${wide}`);
	}
});

test('by keyboard alone: every control is reached, shows the focus, and works', async () => {
	const page = await world.page();

	await world.open(page, 'users');

	const reached = new Set();

	for (let step = 0; step < 60; step++) {
		await page.keyboard.press('Tab');

		const now = await page.evaluate(() => {
			const active = document.activeElement;
			const style = getComputedStyle(active);

			return {
				text: (active.innerText || active.type || '').trim(),
				seen: style.outlineStyle !== 'none' || style.boxShadow !== 'none', inside: active.closest('#view .mtrelay') !== null
			};
		});

		if (now.inside) {
			reached.add(now.text);
			assert.ok(now.seen, `the focus shows on ${now.text}`);
		}
	}

	for (const control of [ 'Show', 'Edit', 'Delete', 'Add user', 'checkbox' ])
		assert.ok(reached.has(control), `${control} of ${[ ...reached ]}`);

	await page.locator('td[data-name="_links"] button').first().focus();
	await page.keyboard.press('Enter');
	await page.waitForSelector('.mtrelay-link');
	assert.strictEqual(await page.evaluate(() => document.activeElement.innerText), 'Close');
	await page.keyboard.press('Enter');
	await page.waitForFunction(() => !document.body.classList.contains('modal-overlay-active'));
});

test('the focus stays where it was when numbers change', async () => {
	const page = await world.page();

	await world.control('open', { dc: 2, bytes: 100 });
	await world.open(page, 'overview');
	await page.locator('details summary').first().focus();
	await page.keyboard.press('Enter');
	await page.waitForSelector('details table');
	await world.control('open', { dc: 2, bytes: 100 });
	await page.waitForFunction(() => document.querySelectorAll('details table tbody tr').length === 2);
	assert.strictEqual(await page.evaluate(() => document.activeElement.getAttribute('data-key')), 'sessions');
});
