// Pages and parts of pages, fetched again and parsed by the browser as documents in which nothing runs.

/** Return the document at `url` and its status.
 *
 * An XMLHttpRequest, since it gives a document without ever turning text of ours into HTML (trusted types hold).
 * @throws {Error} the service does not answer
 */
export function loadDocument(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 15000;
    request.onload = () => resolve({ status: request.status, page: request.response });
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

/** Return the JSON at `url`.
 * @throws {Error} the service does not answer, or answers with an error
 */
export async function loadJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

/** Return the address of a part of this page. */
export function partUrl(part, parameters = {}) {
  const url = new URL(location.href);
  url.hash = "";
  url.searchParams.delete("tab");
  url.searchParams.delete("cursor");
  url.searchParams.set("part", part);
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  return url.href;
}
