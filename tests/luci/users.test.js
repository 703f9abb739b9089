// Users: secrets, links and QR codes made in the browser, and a new user whom the true daemon lets in.
'use strict';

const assert = require('node:assert');
const { test, before, after } = require('node:test');
const jsQR = require('jsqr');
const { World, says, fill, field, saveAndApply } = require('./harness.js');

const world = new World();

before(() => world.start());
after(() => world.stop());

const SECRET = /^[0-9a-f]{32}$/;

const saved = async () => (await world.control('export', {})).text;
const rows = page => page.locator('tr[data-sid]');
const dialogSave = page => page.locator('.modal .cbi-button-positive').click();

// What a camera sees: the code drawn anew, three dots a module, and read by a library that knows nothing of us.
async function scan(page, mode) {
	const picture = await page.locator(`.mtrelay-link[data-mode="${mode}"] svg`).evaluate(async svg => {
		const size = svg.viewBox.baseVal.width * 3;
		const copy = svg.cloneNode(true);

		copy.setAttribute('width', size);
		copy.setAttribute('height', size);

		const image = new Image();

		image.src = 'data:image/svg+xml,' + encodeURIComponent(new XMLSerializer().serializeToString(copy));
		await image.decode();

		const canvas = document.createElement('canvas');

		canvas.width = canvas.height = size;

		const context = canvas.getContext('2d');

		context.fillStyle = '#fff';
		context.fillRect(0, 0, size, size);
		context.drawImage(image, 0, 0, size, size);

		return { size: size, data: Array.from(context.getImageData(0, 0, size, size).data) };
	});
	const code = jsQR(Uint8ClampedArray.from(picture.data), picture.size, picture.size);

	return code && code.data;
}

test('users are listed with their live sessions, traffic and limits', async () => {
	const page = await world.page();

	await world.open(page, 'users');

	const cells = name => page.locator('tr[data-sid]', { hasText: name }).locator('td').allInnerTexts();

	assert.strictEqual(await rows(page).count(), 3);
	assert.match((await cells('office')).join(' '), /32 sessions, 19\.5 GiB a month/);
	assert.match((await cells('guest')).join(' '), /until 2027-01-31/);
	await world.control('open', { dc: 2, bytes: 70000 });
	await page.waitForFunction(() => [ ...document.querySelectorAll('tr[data-sid]') ].some(row => {
		return row.innerText.includes('family') && row.innerText.includes('68.4 KiB / 68.4 KiB');
	}));
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a new user has a random secret, and gets in after Save & Apply', async () => {
	const page = await world.page();

	await page.addInitScript(() => {
		const draw = Crypto.prototype.getRandomValues;

		window.draws = 0;
		Crypto.prototype.getRandomValues = function(bytes) {
			window.draws += bytes.length >= 16 ? 1 : 0;
			return draw.call(this, bytes);
		};
	});
	await world.open(page, 'users');
	await page.locator('.cbi-button-add').click();
	await page.waitForSelector('.modal .mtrelay-draw');

	const secret = () => page.locator('.modal .cbi-value[data-name="secret"] input').first().inputValue();
	const first = await secret();

	await page.locator('.mtrelay-draw').click();

	const second = await secret();

	assert.match(first, SECRET);
	assert.match(second, SECRET);
	assert.notStrictEqual(first, second);
	assert.ok(await page.evaluate(() => window.draws) >= 2, 'drawn by crypto.getRandomValues');
	await fill(page, 'name', 'grandma');
	await dialogSave(page);
	await page.waitForFunction(() => document.querySelectorAll('tr[data-sid]').length === 4);
	await saveAndApply(page);
	assert.ok((await saved()).includes(`option name 'grandma'`) && (await saved()).includes(`option secret '${second}'`));
	await world.control('open', { dc: 2, bytes: 1000, secret: second });
	await says(page, 'grandma');
	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a user is switched off and on in the table', async () => {
	const page = await world.page();

	await world.open(page, 'users');

	const box = page.locator('tr[data-sid]', { hasText: 'family' }).locator('input[type="checkbox"]');

	await box.uncheck({ force: true });
	await saveAndApply(page);
	assert.match(await saved(), /option name 'family'\n\toption secret '[0-9a-f]+'\n\toption enabled '0'/);
	await assert.rejects(world.control('open', { dc: 2, bytes: 10 }));
	await page.locator('tr[data-sid]', { hasText: 'family' }).locator('input[type="checkbox"]').check({ force: true });
	await saveAndApply(page);
	await world.control('open', { dc: 2, bytes: 10 });
	assert.strictEqual((await saved()).match(/option enabled/g).length, 1, 'the default is not written');
});

test('a name or a secret that is taken is refused', async () => {
	const page = await world.page();

	await world.open(page, 'users');
	await page.locator('.cbi-button-add').click();
	await page.waitForSelector('.modal .mtrelay-draw');
	await fill(page, 'name', 'family');
	await page.waitForSelector('.modal .cbi-value[data-name="name"] .cbi-input-invalid');
	await fill(page, 'name', 'uncle');
	await fill(page, 'secret', '6AB1F50C3E9D27884FD2B0179CE35A61');
	await page.waitForSelector('.modal .cbi-value[data-name="secret"] .cbi-input-invalid');
	await dialogSave(page);
	await fill(page, 'secret', 'not hex');
	await page.waitForSelector('.modal .cbi-value[data-name="secret"] .cbi-input-invalid');
	await fill(page, 'expires', '2027-02-30');
	await page.waitForSelector('.modal .cbi-value[data-name="expires"] .cbi-input-invalid');
	assert.ok(await field(page, 'name').isVisible(), 'the dialog stays');
	assert.ok(!(await saved()).includes('uncle'));
});

test('links are those of the daemon, and the codes scan as the links', async () => {
	const page = await world.page();

	await world.open(page, 'users');

	for (const host of [ 'home.example.net', '2001:db8::1', 'дом.example' ]) {
		await page.locator('tr[data-sid]', { hasText: 'family' }).getByRole('button', { name: 'Show' }).click();
		await page.locator('#mtrelay-host').fill(host);
		await page.waitForFunction(wanted => {
			const field = document.querySelector('.mtrelay-link input');

			return field && field.value.includes('server=' + encodeURIComponent(wanted).split('%3A').join(':'));
		}, host);

		const own = await page.locator('.mtrelay-link').evaluateAll(boxes => boxes.map(box => {
			const [ tg, https ] = [ ...box.querySelectorAll('input') ].map(input => input.value);

			return { mode: box.getAttribute('data-mode'), tg: tg, https: https };
		}));
		const daemons = await world.control('call', { method: 'link', args: { user: 'family', host: host } });

		assert.deepStrictEqual(own, daemons.links);
		assert.deepStrictEqual(own.map(link => link.mode), [ 'ee', 'dd' ]);

		for (const link of own)
			assert.strictEqual(await scan(page, link.mode), link.tg);

		await page.keyboard.press('Escape');
		await page.waitForFunction(() => !document.body.classList.contains('modal-overlay-active'));
	}

	assert.deepStrictEqual(await world.complaints(page), []);
});

test('a link is copied, and a wrong address gives none', async () => {
	const page = await world.page();

	await page.context().grantPermissions([ 'clipboard-read', 'clipboard-write' ]);
	await world.open(page, 'users');
	await page.locator('tr[data-sid]', { hasText: 'family' }).getByRole('button', { name: 'Show' }).press('Enter');
	await page.locator('.mtrelay-link[data-mode="dd"] button').first().click();
	await says(page, 'Copied');
	assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^tg:\/\/proxy\?server=home\.example\.net&port=\d+&secret=dd6ab1f50c/);
	await page.locator('#mtrelay-host').fill('home.example.net:443');
	await says(page, 'A name or an address, without a port');
	assert.strictEqual(await page.locator('.mtrelay-link').count(), 0);
});

test('without the library for QR codes the links are there all the same', async () => {
	const page = await world.page();

	await page.route('**/uqr.js*', route => route.abort());
	await world.open(page, 'users');
	await page.locator('tr[data-sid]', { hasText: 'family' }).getByRole('button', { name: 'Show' }).click();
	await says(page, 'the package luci-lib-uqr is missing');
	assert.match(await page.locator('.mtrelay-link[data-mode="ee"] input').first().inputValue(), /^tg:\/\/proxy\?server=home/);
});

test('a configuration that cannot be read is said, not a blank page', async () => {
	const page = await world.page();

	await world.control('instead', { 'uci.get': { code: 6 } });

	for (const tab of [ 'users', 'dcs', 'settings' ]) {
		await page.goto(world.url(tab));
		await says(page, 'uci/get failed');
	}
});

test('secrets written in other forms give the same links', async () => {
	const page = await world.page();

	await world.open(page, 'users');

	const keys = await page.evaluate(async () => {
		const values = await L.require('mtrelay.values');

		return [
			'6ab1f50c3e9d27884fd2b0179ce35a61', 'dd6AB1F50C3E9D27884FD2B0179CE35A61', 'ee6ab1f50c3e9d27884fd2b0179ce35a61612e6578616d706c65',
			'arH1DD6dJ4hP0rAXnONaYQ', '3WqxonotvalidA', '', '6ab1f50c3e9d27884fd2b0179ce35a6', 'zz'
		].map(values.keyOf);
	});

	assert.deepStrictEqual(keys.slice(0, 4), Array(4).fill('6ab1f50c3e9d27884fd2b0179ce35a61'));
	assert.deepStrictEqual(keys.slice(4), [ null, null, null, null ]);
});

test('when an allowance begins anew is asked only if there is one', async () => {
	const page = await world.page();

	await world.open(page, 'users');
	await page.locator('tr[data-sid]', { hasText: 'family' }).locator('.cbi-button-edit').click();
	await page.waitForSelector('.modal .mtrelay-draw');

	const reset = page.locator('.modal .cbi-value[data-name="quota_reset"]');

	await reset.waitFor({ state: 'hidden' });
	await fill(page, 'quota_mb', '500');
	await reset.waitFor({ state: 'visible' });
	await reset.locator('select').selectOption('monthly');
	await dialogSave(page);
	await page.waitForFunction(() => !document.body.classList.contains('modal-overlay-active'));
	await saveAndApply(page);
	assert.match(await saved(), /option name 'family'\n\toption secret '[0-9a-f]+'\n\toption quota_mb '500'\n\toption quota_reset 'monthly'/);
});

test('two hundred users are listed, and one is found', async () => {
	const page = await world.page();
	let text = (await saved());

	for (let at = 0; at < 200; at++)
		text += `\nconfig user\n\toption name 'person${at}'\n\toption secret '${at.toString(16).padStart(2, '0').repeat(14)}a1${at.toString(16).padStart(2, '0')}'\n`;

	await world.control('uci', { config: 'mtrelay', text: text });
	await world.open(page, 'users');
	assert.strictEqual(await rows(page).count(), 203);
	await page.locator('.mtrelay-find').fill('person77');
	await page.waitForFunction(() => [ ...document.querySelectorAll('tr[data-sid]') ].filter(row => row.offsetHeight > 0).length === 1);
	assert.deepStrictEqual(await world.complaints(page), []);
});
