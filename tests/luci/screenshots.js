// Pictures of the page: `node screenshots.js FOLDER [--few]`, with the environment of the tests. With --few one of each tab on a desktop
// and on a phone; else every tab in both themes, light and dark (the themes need LUCI_SRC).
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { World } = require('./harness.js');

// The links are a dialog of the users' tab.
const TABS = [ 'overview', 'users', 'links', 'dcs', 'settings', 'log', 'status' ];
const SIZES = { desktop: { width: 1100, height: 800 }, phone: { width: 360, height: 740 } };

// An evening's traffic, as far as a minute can show it: the page's clock runs, the bytes are real.
async function useIt(world, page) {
	for (const [ at, dc ] of [ 2, 4, 2, 5, 1, -2, 2, -4, 3, 2 ].entries())
		await world.control('open', { dc: dc, bytes: 4000 + 90000 * (at % 4) });

	await page.clock.install();
	await world.open(page, 'overview');
	await page.waitForSelector('.mtrelay-callout.mtrelay-good');

	for (let step = 0; step < 58; step++) {
		const { session } = await world.control('open', {
			dc: [ 2, -2, 4, -4, 1 ][step % 5], up: 3000 + 9000 * (step % 3), down: Math.round(900000 * (1 + Math.sin(step / 4)) + 200000 * (step % 5))
		});

		if (step % 3)
			await world.control('close', { session: session });

		const answered = page.waitForResponse(answer => answer.url().includes('/ubus'));

		await page.clock.runFor(5000);
		await answered;
	}
}

async function take(world, folder, name, options, tabs) {
	const page = await world.page(Object.assign({ poll: 5 }, options));

	await useIt(world, page);

	for (const tab of tabs) {
		// The overview is open already, with what it has drawn.
		if (tab !== 'overview')
			await world.open(page, tab === 'links' ? 'users' : tab);

		if (tab === 'links') {
			await page.locator('td[data-name="_links"] button').first().click();
			await page.waitForSelector('.mtrelay-link svg');
		}

		await page.clock.runFor(400);

		// LuCI fades things in; a spinner never ends.
		await page.evaluate(() => Promise.all(document.getAnimations()
			.filter(animation => animation.effect.getComputedTiming().endTime < Infinity).map(animation => animation.finished)));
		await page.screenshot({ path: path.join(folder, `${name}-${tab}.png`), fullPage: true, animations: 'disabled' });
	}
}

async function all(folder, few) {
	const world = new World();

	fs.mkdirSync(folder, { recursive: true });
	await world.start();

	try {
		if (few) {
			await take(world, folder, 'desktop', SIZES.desktop, TABS);
			await take(world, folder, 'phone', SIZES.phone, [ 'overview' ]);
			return;
		}

		for (const theme of [ 'bootstrap', 'material' ]) {
			for (const dark of [ false, true ]) {
				for (const size of Object.keys(SIZES))
					await take(world, folder, `${theme}-${dark ? 'dark' : 'light'}-${size}`, Object.assign({ theme: theme, dark: dark }, SIZES[size]), TABS);
			}
		}

		await take(world, folder, 'farsi-phone', Object.assign({ language: 'fa' }, SIZES.phone), TABS);
	}
	finally {
		await world.stop();
	}
}

module.exports = { all };

if (require.main === module)
	all(process.argv[2], process.argv.includes('--few')).then(() => process.exit(0));
