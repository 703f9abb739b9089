// Pictures for whoever looks at a run: one of each tab on a desktop, and one on a phone, in dist/screenshots/tests.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { all } = require('./screenshots.js');

test('every tab has its picture', async () => {
	const folder = path.join(__dirname, '../../dist/screenshots/tests');

	fs.rmSync(folder, { recursive: true, force: true });
	await all(folder, true);

	const pictures = fs.readdirSync(folder);

	assert.strictEqual(pictures.length, 8);
	pictures.forEach(name => assert.ok(fs.statSync(path.join(folder, name)).size > 5000, name));
});
