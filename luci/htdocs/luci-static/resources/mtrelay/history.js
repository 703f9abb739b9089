'use strict';
'require baseclass';

/*
 * The last five minutes, kept by the page: the daemon counts since its start, and rates are differences of what was read.
 * Time is an argument (milliseconds). The samples survive a change between the page's tabs in the browser's session storage.
 */

const WINDOW_MS = 300000;
const MINUTE_MS = 60000;

/* The shortest span that a rate per minute is computed from. */
const SHORTEST_MS = 8000;

/* A gap in the polls (the tab was hidden) is drawn as a gap. */
const GAP_MS = 30000;

const STORED_AS = 'mtrelay.history';

function isCount(value) {
	return typeof(value) === 'number' && isFinite(value);
}

return baseclass.extend({
	samples: [],

	/* counters: a flat table of numbers, among them up and down, in bytes. */
	add: function(now, uptime, counters) {
		const last = this.samples[this.samples.length - 1];

		/* A daemon that was restarted counts from 0 again; a clock that was set back would draw backwards. */
		if (last && (uptime < last.uptime || now <= last.at || counters.up < last.counters.up || counters.down < last.counters.down))
			this.samples = [];

		this.samples.push({ at: now, uptime: uptime, counters: counters });
		this.samples = this.samples.filter(function(sample) {
			return now - sample.at <= WINDOW_MS + GAP_MS;
		});
	},

	/* The increase within a minute, scaled up while the page is younger than that; null before anything can be said. */
	perMinute: function(name) {
		const last = this.samples[this.samples.length - 1];

		if (!last)
			return null;

		const from = this.samples.filter(function(sample) {
			return last.at - sample.at <= MINUTE_MS + 5000 && isCount(sample.counters[name]);
		})[0];

		if (!from || !isCount(last.counters[name]) || last.at - from.at < SHORTEST_MS)
			return null;

		return (last.counters[name] - from.counters[name]) * MINUTE_MS / (last.at - from.at);
	},

	/* [{ age, up, down }] in bytes per second, oldest first, the age in milliseconds at its end; null marks a gap. */
	rates: function(now) {
		const found = [];

		for (let i = 1; i < this.samples.length; i++) {
			const from = this.samples[i - 1], to = this.samples[i];
			const seconds = (to.at - from.at) / 1000;

			if (now - to.at > WINDOW_MS)
				continue;

			if (to.at - from.at > GAP_MS) {
				found.push(null);
				continue;
			}

			found.push({
				age: now - to.at,
				up: (to.counters.up - from.counters.up) / seconds,
				down: (to.counters.down - from.counters.down) / seconds
			});
		}

		return found;
	},

	save: function() {
		try {
			window.sessionStorage.setItem(STORED_AS, JSON.stringify(this.samples.map(function(sample) {
				return [ sample.at, sample.uptime, sample.counters.up, sample.counters.down ];
			})));
		}
		catch (error) {
			/* Storage may be full or forbidden; the graph then starts empty. */
		}
	},

	restore: function(now) {
		let stored = null;

		try {
			stored = JSON.parse(window.sessionStorage.getItem(STORED_AS));
		}
		catch (error) {
			/* As above. */
		}

		this.samples = (Array.isArray(stored) ? stored : []).filter(function(row) {
			return Array.isArray(row) && row.length === 4 && row.every(isCount) && row[0] < now && now - row[0] <= WINDOW_MS;
		}).map(function(row) {
			return { at: row[0], uptime: row[1], counters: { up: row[2], down: row[3] } };
		});
	},

	WINDOW_MS: WINDOW_MS
});
