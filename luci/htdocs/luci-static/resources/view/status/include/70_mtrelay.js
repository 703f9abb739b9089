'use strict';
'require baseclass';
'require mtrelay.daemon as daemon';
'require mtrelay.parts as parts';
'require mtrelay.verdict as verdict';

return baseclass.extend({
	title: _('MTProto Relay'),

	load: function() {
		return document.hidden ? Promise.resolve(null) : Promise.all([ daemon.ask('status'), daemon.ask('dcs') ]);
	},

	render: function(answers) {
		if (!answers)
			return null;

		const status = answers[0], dcs = answers[1];

		/* A login that may not look, and a router without the service, see no box. */
		if (status.fault)
			return status.fault.kind === 'denied' ? null : parts.page([ parts.callout('bad', daemon.explain(status.fault)) ], 'box');

		const said = verdict.of(status.doc, dcs.doc || {});

		return parts.page([ parts.callout(said.level, said.text, [
			E('p', {}, [
				_('Sessions: %d.').format(daemon.at(status.doc, 'sessions.active') || 0), ' ',
				_('Since the start: %s down, %s up.').format(
					parts.bytes(daemon.at(status.doc, 'bytes.down')), parts.bytes(daemon.at(status.doc, 'bytes.up'))), ' ',
				E('a', { 'href': L.url('admin/services/mtrelay/overview') }, [ _('More') ])
			])
		]) ], 'box');
	}
});
