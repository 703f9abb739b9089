// What the page's tests stand on: the test server with the true daemon, a headless Chromium, and the few gestures that LuCI's runtime and
// the stand-in take alike. LUCI_SRC names a checkout of LuCI to run with; without it the stand-in is used.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const readline = require('node:readline');
const { chromium } = require('playwright-core');

const CHROMIUM = [
	'--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-gpu', '--disable-quic',
	'--no-first-run'
];

// Longer than anything takes here; a failed wait says what it waited for.
const PATIENCE_MS = +process.env.PATIENCE_MS || 20000;

// What a router's browser may complain of without being at fault.
const NOISE = [ 'Failed to load resource' ];

async function startServer() {
	const args = [ '--mtrelay', process.env.MTRELAY_BIN ];

	if (process.env.LUCI_SRC)
		args.push('--luci', process.env.LUCI_SRC);

	const child = spawn(process.env.LUCI_SERVER_BIN, args, { stdio: [ 'pipe', 'pipe', 'inherit' ] });
	const lines = readline.createInterface({ input: child.stdout });
	const base = await new Promise((resolve, reject) => {
		lines.once('line', line => resolve(line.replace('listening ', '')));
		child.once('exit', code => reject(new Error(`the test server ended with ${code}`)));
	});

	return {
		base: base,

		async control(name, args) {
			const answer = await fetch(`${base}/test/${name}`, { method: 'POST', body: JSON.stringify(args || {}) });
			const text = await answer.text();

			if (!answer.ok)
				throw new Error(`${name}: ${text}`);

			return JSON.parse(text);
		},

		stop() {
			return new Promise(resolve => {
				child.removeAllListeners('exit');
				child.once('exit', resolve);
				child.stdin.end();
			});
		}
	};
}

class World {
	async start() {
		this.server = await startServer();
		this.control = this.server.control;
		this.browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: CHROMIUM });
	}

	async stop() {
		if (this.browser)
			await this.browser.close();

		if (this.server)
			await this.server.stop();
	}

	// A fresh world and an empty page. options: login, theme, language, poll (seconds), width, height, dark.
	async page(options) {
		const wish = Object.assign({ login: 'owner', theme: 'bootstrap', language: 'en', poll: 1, width: 1100, height: 900 }, options);

		if (this.context)
			await this.context.close();

		if (!wish.keep)
			await this.control('reset');

		this.context = await this.browser.newContext({
			viewport: { width: wish.width, height: wish.height }, colorScheme: wish.dark ? 'dark' : 'light'
		});

		const cookie = (name, value) => ({ name: name, value: String(value), url: this.server.base });

		await this.context.addCookies([
			cookie('sysauth_http', wish.login), cookie('theme', wish.theme), cookie('language', wish.language), cookie('poll', wish.poll)
		]);

		const page = await this.context.newPage();

		page.setDefaultTimeout(PATIENCE_MS);
		page.complaints = [];
		page.on('pageerror', error => page.complaints.push(String(error)));
		page.on('console', message => {
			if (message.type() === 'error' && !NOISE.some(noise => message.text().includes(noise)))
				page.complaints.push(message.text());
		});

		return page;
	}

	url(tab) {
		return `${this.server.base}/cgi-bin/luci/admin/${tab === 'status' ? 'status/overview' : 'services/mtrelay/' + tab}`;
	}

	// Opens a tab and waits until it stands.
	async open(page, tab) {
		await page.goto(this.url(tab));
		await page.waitForSelector('#view .mtrelay').catch(async error => {
			throw new Error(`${tab} does not come: ${(await this.complaints(page)).join('; ') || error}`);
		});
		// Its style sheet comes after it.
		await page.waitForFunction(() => {
			return getComputedStyle(document.querySelector('#view .mtrelay')).getPropertyValue('--mtrelay-good') !== '';
		});
	}

	// What a browser and the stand-in have to say against the page.
	async complaints(page) {
		const own = await page.evaluate(() => window.standinErrors || []);

		return page.complaints.concat(own);
	}
}

// Waits until the function of the page's own text is true.
function says(page, text) {
	return page.waitForFunction(wanted => document.body.innerText.includes(wanted), text);
}

function field(page, name) {
	return page.locator(`.cbi-value[data-name="${name}"]`);
}

async function fill(page, name, text) {
	const input = field(page, name).locator('input[type="text"], input[type="password"]').last();

	await input.fill(text);
	await input.blur();
}

async function tab(page, name) {
	await page.locator(`.cbi-tabmenu li[data-tab="${name}"] a`).click();
}

// Save & Apply, until the page has come again.
async function saveAndApply(page) {
	const loaded = page.waitForEvent('load');

	await page.locator('.cbi-page-actions .cbi-button-apply').first().click();
	await loaded;
	await page.waitForSelector('#view .mtrelay');
}

module.exports = { World, says, field, fill, tab, saveAndApply, hasLuci: Boolean(process.env.LUCI_SRC), fs };
