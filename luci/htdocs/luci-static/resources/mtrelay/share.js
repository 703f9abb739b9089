'use strict';
'require baseclass';
'require ui';
'require mtrelay.links as links';
'require mtrelay.parts as parts';
'require mtrelay.values as values';

/*
 * The dialog with the links and QR codes of one user. The codes are drawn by LuCI's own library, whose picture is read back and
 * drawn again node by node: nothing here is ever parsed as a page.
 */

const SVG = 'http://www.w3.org/2000/svg';

/* The quiet zone of a QR code: four modules (ISO/IEC 18004). */
const MARGIN = 4;

function drawCode(uqr, text, label) {
	const picture = new DOMParser().parseFromString(uqr.renderSVG(text, { border: MARGIN, pixelSize: 1 }), 'image/svg+xml');
	const path = picture.querySelector('path');
	const size = picture.documentElement.getAttribute('width');
	const svg = document.createElementNS(SVG, 'svg');
	const modules = document.createElementNS(SVG, 'path');

	svg.setAttribute('class', 'mtrelay-qr');
	svg.setAttribute('viewBox', '0 0 ' + size + ' ' + size);
	svg.setAttribute('shape-rendering', 'crispEdges');
	svg.setAttribute('role', 'img');
	svg.setAttribute('aria-label', label);
	modules.setAttribute('fill', '#000');
	modules.setAttribute('d', path.getAttribute('d'));
	svg.appendChild(modules);

	return svg;
}

/* navigator.clipboard exists on https only; execCommand works on http as well. */
function copy(field) {
	field.focus();
	field.select();

	if (window.isSecureContext && navigator.clipboard)
		return navigator.clipboard.writeText(field.value).then(function() { return true; }, function() { return false; });

	return Promise.resolve(document.execCommand('copy'));
}

function copyButton(field, text) {
	const button = E('button', { 'class': 'btn cbi-button', 'aria-live': 'polite' }, [ text ]);

	button.addEventListener('click', function(ev) {
		ev.preventDefault();
		copy(field).then(function(done) {
			button.focus();
			parts.setText(button, done ? _('Copied') : _('Press Ctrl+C'));
			window.setTimeout(function() { parts.setText(button, text); }, 2000);
		});
	});

	return button;
}

function linkBox(link, uqr) {
	const name = links.modeName(link.mode);
	const tg = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'readonly': '', 'value': link.tg, 'aria-label': name + ', tg:' });
	const https = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'readonly': '', 'value': link.https, 'aria-label': name + ', https:' });

	return E('div', { 'class': 'mtrelay-link', 'data-mode': link.mode }, [
		E('h5', {}, [ name ]),
		uqr ? drawCode(uqr, link.tg, _('QR code of the link')) : E('p', {}, [ _('This LuCI cannot draw QR codes: the package luci-lib-uqr is missing.') ]),
		tg, copyButton(tg, _('Copy app link')), ' ',
		E('div', { 'style': 'height: .75em' }),
		https, copyButton(https, _('Copy web link'))
	]);
}

return baseclass.extend({
	/* user: { name, secret, known }; where as in links.of(), with its source. */
	open: function(user, where) {
		return L.resolveDefault(L.require('uqr'), null).then(function(uqr) {
			const body = E('div', { 'class': 'mtrelay-share' });
			const host = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'id': 'mtrelay-host', 'value': where.host });
			const wrong = E('p', { 'class': 'mtrelay-warning', 'role': 'alert', 'style': 'display: none' }, [ '' ]);
			const close = E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Close') ]);

			function draw() {
				const said = values.host(host.value.trim());
				const bare = host.value.trim().split('[').join('').split(']').join('');
				const found = said === true ? links.of(user.secret, Object.assign({}, where, { host: bare })) : [];

				wrong.style.display = found.length ? 'none' : '';
				parts.setText(wrong, said === true ? _('There is no link: no mode is allowed, or the ee mode has no front domain.') : said);
				parts.swap(body, found.map(function(link) { return linkBox(link, uqr); }));
			}

			host.addEventListener('input', draw);
			draw();

			const dialog = ui.showModal(_('Links and QR codes'), [ parts.page([
				E('p', {}, [ _('Anyone with one of these links can use the relay as this user:'), ' ', E('b', {}, [ E('bdi', {}, [ user.name ]) ]) ]),
				user.known === false ? E('p', { 'class': 'mtrelay-warning' }, [
					_('The running relay does not know this user yet: save and apply first.')
				]) : '',
				where.source === 'page' ? E('p', { 'class': 'mtrelay-warning' }, [
					_('This address works at home only. Enter the name or the public address of this router here, or set it permanently in Settings.')
				]) : '',
				E('div', { 'class': 'mtrelay-bar' }, [ E('label', { 'for': 'mtrelay-host' }, [ _('Address in the links') ]), host ]),
				wrong,
				body,
				E('div', { 'class': 'right button-row' }, [ close ])
			], 'share') ]);

			dialog.addEventListener('keydown', function(ev) {
				if (ev.key === 'Escape')
					ui.hideModal();
			});
			close.focus({ preventScroll: true });
		});
	}
});
