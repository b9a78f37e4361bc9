/** What a page says in the console, and what it asks of others than its own server and addresses like `also`, from now on. */
export function complaintsOf(page, url, also = /^data:/) {
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${url}/`) && !also.test(request.url())) complaints.push(`asks for ${request.url()}`);
  });
  return complaints;
}
