// The words of the page: every text that stands in `_()` or in the menu and the access lists, in the order of the files.
// `node tests/luci/words.js` writes the template; the test of the translations reads the same list.
'use strict';

const fs = require('fs');
const path = require('path');

const LUCI = path.join(__dirname, '../../luci');
const TEMPLATE = path.join(LUCI, 'po/templates/mtrelay.pot');

function filesIn(folder, ending) {
	return fs.readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
		const inside = path.join(folder, entry.name);

		return entry.isDirectory() ? filesIn(inside, ending) : (inside.endsWith(ending) ? [ inside ] : []);
	}).sort();
}

function scripts() {
	return filesIn(path.join(LUCI, 'htdocs'), '.js');
}

// Map of text → files that say it.
function texts() {
	const found = new Map();
	const say = (text, file) => {
		const name = path.relative(path.join(LUCI, '..'), file);

		found.set(text, (found.get(text) || []).concat((found.get(text) || []).includes(name) ? [] : [ name ]));
	};

	for (const file of scripts()) {
		const source = fs.readFileSync(file, 'utf8');

		for (const match of source.matchAll(/(?<![\w.])_\(\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")/g))
			say(Function('return ' + match[1])(), file);
	}

	for (const file of filesIn(path.join(LUCI, 'root'), '.json')) {
		for (const entry of Object.values(JSON.parse(fs.readFileSync(file, 'utf8')))) {
			for (const text of [ entry.title, entry.description ].filter(Boolean))
				say(text, file);
		}
	}

	return found;
}

// [{ id, said, comments }] of a po file.
function readPo(file) {
	const entries = [];
	let entry = null, into = null;

	for (const line of fs.readFileSync(file, 'utf8').split('\n').concat([ '' ])) {
		const match = /^(msgid|msgstr) (".*")$/.exec(line);

		if (match && match[1] === 'msgid')
			entries.push(entry = { id: '', said: '' });

		if (match) {
			into = match[1] === 'msgid' ? 'id' : 'said';
			entry[into] += JSON.parse(match[2]);
		}
		else if (line.startsWith('"')) {
			entry[into] += JSON.parse(line);
		}
		else if (line !== '' && !line.startsWith('#')) {
			throw new Error(`${file}: ${line}`);
		}
	}

	return entries;
}

function template() {
	const head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n';

	return head + [ ...texts() ].map(([ text, files ]) =>
		`\n${files.map(file => `#: ${file}\n`).join('')}msgid ${JSON.stringify(text)}\nmsgstr ""\n`).join('');
}

module.exports = { LUCI, TEMPLATE, filesIn, scripts, texts, readPo, template };

if (require.main === module)
	fs.writeFileSync(TEMPLATE, template());
