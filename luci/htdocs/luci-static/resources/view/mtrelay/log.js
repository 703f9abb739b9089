'use strict';
'require view';
'require mtrelay.daemon as daemon';
'require mtrelay.parts as parts';

/* Lines read from the system log, seconds between two reads, lines shown at most: bounds that a slow router and a phone can bear. */
const LINES_READ = 1000;
const SECONDS_BETWEEN = 10;
const LINES_SHOWN = 500;

/* Names of the syslog severities (RFC 5424), by number. */
const LEVELS = [ 'emerg', 'alert', 'crit', 'error', 'warn', 'notice', 'info', 'debug' ];

const OURS = /^mtrelay(\[\d+\])?: ?/;

function lineOf(entry) {
	const text = String(entry.msg);
	const head = OURS.exec(text);

	return head ? {
		id: entry.id,
		at: typeof(entry.time) === 'number' ? new Date(entry.time) : null,
		severity: (+entry.priority || 0) & 7,
		text: text.substring(head[0].length)
	} : null;
}

function two(number) {
	return ('0' + number).slice(-2);
}

function clock(at) {
	return at ? at.getFullYear() + '-' + two(at.getMonth() + 1) + '-' + two(at.getDate()) + ' '
		+ two(at.getHours()) + ':' + two(at.getMinutes()) + ':' + two(at.getSeconds()) : '';
}

return view.extend({
	load: function() {
		return daemon.ask('log', LINES_READ, false, true);
	},

	render: function(answer) {
		const list = E('ul', { 'class': 'mtrelay-lines', 'tabindex': '0', 'aria-label': _('Log of the relay, newest line first') });
		const said = E('p', { 'class': 'mtrelay-faint', 'aria-live': 'polite' }, [ '' ]);
		const fault = E('div', {});
		const level = E('select', { 'class': 'cbi-input-select', 'change': draw }, [
			E('option', { 'value': '3' }, [ _('errors') ]),
			E('option', { 'value': '4' }, [ _('warnings and errors') ]),
			E('option', { 'value': '6' }, [ _('info and above') ]),
			E('option', { 'value': '7', 'selected': '' }, [ _('everything') ])
		]);
		const wanted = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'input': draw });
		let lines = [], drawn = null;

		function take(got) {
			parts.swap(fault, got.fault ? [ parts.callout('bad', daemon.explain(got.fault)) ] : []);

			if (!got.fault)
				lines = daemon.rows(got.doc, 'log').map(lineOf).filter(function(line) { return line !== null; }).reverse();

			draw();
		}

		function draw() {
			const text = wanted.value.toLowerCase();
			const found = lines.filter(function(line) {
				return line.severity <= +level.value && line.text.toLowerCase().indexOf(text) >= 0;
			});
			const shown = found.slice(0, LINES_SHOWN);
			const key = JSON.stringify([ level.value, text, shown ]);

			if (key === drawn)
				return;

			drawn = key;
			parts.setText(said, lines.length
				? _('%d of %d lines').format(shown.length, lines.length)
				: _('The log holds no line of the relay. It is kept in memory, where new lines replace the oldest.'));
			parts.swap(list, shown.map(function(line) {
				const kind = line.severity <= 3 ? 'mtrelay-bad' : (line.severity === 4 ? 'mtrelay-note' : null);

				return E('li', { 'class': kind }, [
					E('time', {}, [ clock(line.at) ]),
					E('b', {}, [ LEVELS[line.severity] ]), ' ',
					line.text
				]);
			}));
		}

		take(answer);
		parts.watch(function() { return daemon.ask('log', LINES_READ, false, true).then(take); }, SECONDS_BETWEEN);

		return parts.page([
			E('h2', {}, [ _('Log') ]),
			fault,
			E('div', { 'class': 'mtrelay-bar' }, [
				E('label', {}, [ _('Level'), level ]),
				E('label', {}, [ _('Containing'), wanted ])
			]),
			said,
			list
		], 'log');
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
