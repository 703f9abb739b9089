// What can be said of the page's files without a browser: words and translations, access lists, and code that LuCI's minifier and the
// browsers of LuCI 23.05 take.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { LUCI, TEMPLATE, filesIn, scripts, texts, readPo, template } = require('./words.js');

const LANGUAGES = { de: 'de', fa: 'fa', ru: 'ru', zh_Hans: 'zh_Hans' };

const placeholders = text => (text.match(/%[0-9.]*[a-z]/g) || []).join(' ');
const json = name => JSON.parse(fs.readFileSync(path.join(LUCI, name), 'utf8'));
const menu = json('root/usr/share/luci/menu.d/luci-app-mtrelay.json');
const acl = json('root/usr/share/rpcd/acl.d/luci-app-mtrelay.json');
const sources = scripts().map(file => ({ name: path.relative(LUCI, file), text: fs.readFileSync(file, 'utf8') }));

test('the template holds every text of the page, and no other', () => {
	assert.ok(texts().size > 250);
	assert.strictEqual(fs.readFileSync(TEMPLATE, 'utf8'), template(), 'node tests/luci/words.js writes it anew');
});

for (const [ folder, language ] of Object.entries(LANGUAGES)) {
	test(`${folder}: every text is translated, with its placeholders in their order`, () => {
		const entries = readPo(path.join(LUCI, 'po', folder, 'mtrelay.po'));
		const head = entries.shift();

		assert.strictEqual(head.id, '');
		assert.match(head.said, new RegExp(`^Language: ${language}$`, 'm'));
		assert.match(head.said, /^Content-Type: text\/plain; charset=UTF-8$/m);
		assert.deepStrictEqual(entries.map(entry => entry.id), [ ...texts().keys() ]);

		for (const { id, said } of entries) {
			assert.notStrictEqual(said, '', id);
			assert.strictEqual(placeholders(said), placeholders(id), id);
			assert.strictEqual(said.trim(), said, id);
			assert.doesNotMatch(said, /[<>]/, id);
		}

		const same = entries.filter(entry => entry.id === entry.said && /[a-z]{4}.* /.test(entry.id)).map(entry => entry.id);

		assert.deepStrictEqual(same, []);
	});
}

test('nothing in the page makes markup out of text, or runs a program', () => {
	const words = [ 'innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'fs.exec', 'eval(', 'new Function', 'srcdoc', 'rawhtml' ];

	for (const { name, text } of sources) {
		for (const word of words)
			assert.ok(!text.includes(word), `${name}: ${word}`);
	}

	assert.ok(!/"(file|exec|luci\.exec)"/.test(JSON.stringify(acl)));
});

// Walks over the code as a minifier does: strings, comments and regular expressions are one piece each.
function pieces(text) {
	const found = [];
	let at = 0, before = '\n';

	while (at < text.length) {
		const rest = text.slice(at);
		const comment = /^(?:\/\/[^\n]*|\/\*[^]*?\*\/)/.exec(rest);
		const string = /^(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/.exec(rest);
		const regexp = '(,=:[!&|?+-~*/{};\n'.includes(before) && /^\/(?![*/])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/.exec(rest);
		const piece = comment || string || regexp;

		if (piece) {
			if (!comment)
				found.push({ kind: string ? 'string' : 'regexp', text: piece[0], before: before });

			at += piece[0].length;
			before = comment ? before : 'x';
			continue;
		}

		if (!/\s/.test(text[at]))
			found.push({ kind: 'code', text: before = text[at], before: '' });
		else if (text[at] === '\n')
			found.push({ kind: 'line', text: '\n', before: '' });

		at++;
	}

	return found;
}

test('the scripts survive a minifier that knows no grammar', () => {
	for (const { name, text } of sources) {
		for (const piece of pieces(text)) {
			assert.notStrictEqual(piece.text, '`', `${name}: a template literal`);

			// The minifier tells a division from a regular expression by the sign before it; a line's end is none.
			if (piece.kind === 'regexp')
				assert.ok('(,=:[!&|?{};'.includes(piece.before), `${name}: ${piece.text} is taken for a division`);
		}
	}
});

test('the scripts are in the language of LuCI 23.05', () => {
	for (const { name, text } of sources) {
		const code = pieces(text).filter(piece => piece.kind !== 'string' && piece.kind !== 'regexp').map(piece => piece.text).join('');

		for (const [ what, sign ] of [ [ 'optional chaining', /\?\.[^0-9]/ ], [ 'nullish', /\?\?/ ], [ 'a private field', /this\.#/ ], [ 'spread', /\.\.\./ ] ])
			assert.doesNotMatch(code, sign, `${name}: ${what}`);

		assert.ok(text.startsWith("'use strict';\n'require "), `${name} begins with its directives`);
		assert.doesNotThrow(() => Function('window', 'document', 'L', 'E', '_', text), name);
	}
});

test('the menu leads to views that exist, behind groups that exist', () => {
	for (const [ place, entry ] of Object.entries(menu)) {
		entry.depends.acl.forEach(group => assert.ok(acl[group], `${place}: ${group}`));

		if (entry.action.type === 'view')
			assert.ok(fs.existsSync(path.join(LUCI, 'htdocs/luci-static/resources/view', entry.action.path + '.js')), entry.action.path);
	}

	assert.strictEqual(Object.values(menu).filter(entry => entry.action.type === 'view').length, 5);
});

test('one group looks, the other changes, and only the second sees secrets', () => {
	assert.deepStrictEqual(Object.keys(acl), [ 'luci-app-mtrelay-status', 'luci-app-mtrelay' ]);

	const [ look, change ] = Object.values(acl);

	assert.deepStrictEqual(look.read.ubus.mtrelay, [ 'dcs', 'sessions', 'status', 'users' ]);
	assert.strictEqual(look.write, undefined);
	assert.strictEqual(look.read.uci, undefined);
	assert.deepStrictEqual(change.write.ubus.mtrelay, [ 'check', 'link', 'reload' ]);
	assert.ok(change.read.uci.includes('mtrelay') && change.write.uci.includes('mtrelay'));
	assert.strictEqual(change.read.ubus, undefined);
});

test('every call of the page is declared in its access lists', () => {
	const granted = Object.values(acl).flatMap(group => [ group.read, group.write ]).filter(Boolean).map(part => part.ubus || {});
	const calls = sources.flatMap(({ text }) => [ ...text.matchAll(/declare\('([a-z.]+)', '([a-z]+)'/g) ]);

	assert.ok(calls.length > 8);

	for (const [ , object, method ] of calls) {
		if (object !== 'session')
			assert.ok(granted.some(part => (part[object] || []).includes(method)), `${object} ${method}`);
	}
});

test('no file of the page is out of the package\'s places', () => {
	const kinds = filesIn(LUCI, '').map(file => path.relative(LUCI, file)).filter(name => !/^(htdocs|root|po)\//.test(name));

	assert.deepStrictEqual(kinds, [ 'Makefile', 'README.md' ]);
});
