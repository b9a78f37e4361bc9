// Shows /openapi.json. The search would need a worker made of text, which the page's policy forbids.
Redoc.init('/openapi.json', { disableSearch: true }, document.getElementById('redoc'));
