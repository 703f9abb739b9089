// Data centres and the log: what is in use, one's own addresses, the test of one data centre, and this service's lines alone.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const { World, says, field, fill, saveAndApply } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

const saved = async () => (await world.control('export', {})).text;
const inUse = (page, name) => page.locator('.mtrelay-table tr', { has: page.getByText(name, { exact: true }) });

test('a test of one data centre says what each address took', async () => {
	const page = await world.page();

	await world.control('script', { place: 1, name: 'respq' });
	await world.open(page, 'dcs');
	await inUse(page, 'DC 2').getByRole('button').press('Enter');
	await says(page, '1 of 1 addresses answer');

	const cells = await page.locator('.mtrelay-results td').allInnerTexts();

	assert.match(cells[0], /^127\.0\.0\.1:\d+$/);
	assert.match(cells[1], /^\d+ ms$/);
	assert.match(cells[2], /^\d+ ms$/);
	assert.strictEqual(cells[3], 'none');

	await world.control('script', { place: 2, name: 'refuse' });
	await inUse(page, 'DC 3').getByRole('button').click();
	await says(page, '0 of 1 addresses answer');
	assert.ok((await page.locator('.mtrelay-results td').last().innerText()).length > 3, 'the error is named');
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('addresses of one\'s own replace the built-in ones, and go back', async () => {
	const page = await world.page();

	await world.open(page, 'dcs');
	assert.strictEqual(await inUse(page, 'DC 203 (channel files)').locator('td').nth(3).innerText(), 'built in');
	await page.locator('.cbi-button-add').click();
	await page.waitForSelector('.modal .cbi-value[data-name="id"]');
	await setId(page, '203');
	await page.waitForFunction(() => document.querySelector('.modal').innerHTML.includes('91.105.192.100:443'));
	await page.locator('.modal .cbi-button-positive').click();
	await page.waitForFunction(() => document.querySelectorAll('tr[data-sid]').length === 6);
	await saveAndApply(page);
	assert.match(await saved(), /config dc\n\toption id '203'\n\tlist address '91\.105\.192\.100:443'\n\tlist address '\[2a0a:f280:203:a:5000::100\]:443'\n/);
	assert.strictEqual(await inUse(page, 'DC 203 (channel files)').locator('td').nth(3).innerText(), 'yours');

	const row = page.locator('tr[data-sid]').last();

	await row.getByRole('button', { name: 'Reset to built-in' }).click();
	await page.waitForFunction(() => document.querySelectorAll('tr[data-sid]').length === 5);
	await saveAndApply(page);
	assert.doesNotMatch(await saved(), /'203'/);
	assert.deepStrictEqual(await world.complaints(page), []);
});

// LuCI makes a drop-down of it whose last entry takes any number; the stand-in a field with suggestions.
async function setId(page, id) {
	const input = field(page, 'id').locator('input[list]');

	if (await input.count()) {
		await input.fill(id);
		await input.blur();
		return;
	}

	await field(page, 'id').locator('.cbi-dropdown').click();
	await field(page, 'id').locator(`.cbi-dropdown li[data-value="${id}"]`).first().click();
}

test('an address that no data centre can have is refused', async () => {
	const page = await world.page();

	await world.open(page, 'dcs');
	await page.locator('tr[data-sid] .cbi-button-edit').first().click();
	await page.waitForSelector('.modal .cbi-value[data-name="address"]');

	for (const wrong of [ '149.154.167.51', '0.0.0.0:443', '[2001:db8::1:443', 'example.org:443', '1.2.3.4:0', '224.0.0.1:443' ]) {
		await fill(page, 'address', wrong);
		await page.waitForSelector('.modal .cbi-value[data-name="address"] .cbi-input-invalid');
	}
});

test('without the daemon the data centres of one\'s own are still there', async () => {
	const page = await world.page();

	await world.control('service', { action: 'stop' });
	await world.open(page, 'dcs');
	await says(page, 'The relay is not running.');
	assert.strictEqual(await page.locator('tr[data-sid]').count(), 5);
});

test('the log shows the lines of this service alone, by level and by word', async () => {
	const page = await world.page();
	const line = (msg, severity) => ({ msg: msg, id: 900, priority: 24 + severity, source: 1, time: Date.now() });

	await world.control('log', { lines: [
		line('kernel: mtrelay: not ours', 6), line('dnsmasq[1]: query mtrelay[4711]: x', 6), line('mtrelay[9]: a warning of old', 4), line('mtrelay: an error', 3)
	] });
	await world.open(page, 'log');
	await says(page, 'mtrelay 0.');

	const lines = page.locator('.mtrelay-lines li');

	assert.doesNotMatch(await page.locator('.mtrelay-lines').innerText(), /not ours|dnsmasq/);
	assert.match(await lines.first().innerText(), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s*error an error$/);
	await page.locator('.mtrelay-bar select').selectOption('4');
	assert.strictEqual(await lines.count(), await lines.filter({ hasText: /(error|warn) / }).count());
	await page.locator('.mtrelay-bar select').selectOption('3');
	assert.strictEqual(await page.locator('.mtrelay-lines').innerText().then(text => text.includes('a warning of old')), false);
	await page.locator('.mtrelay-bar select').selectOption('7');
	await page.locator('.mtrelay-bar input').fill('warning OF old');
	assert.strictEqual(await lines.count(), 1);

	const { session } = await world.control('open', { dc: 2, bytes: 10 });

	await world.control('close', { session: session });
	await world.open(page, 'log');
	await page.locator('.mtrelay-bar input').fill('close: user=family');
	await lines.first().waitFor();
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a log that cannot be read says why', async () => {
	const page = await world.page();

	await world.control('instead', { 'log.read': { code: 6 } });
	await world.open(page, 'log');
	await says(page, 'This login has no right to ask for this.');
});
