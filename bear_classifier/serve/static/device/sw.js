// Keeps the files of this page, each checked, so that it opens without a network. The list and the
// version stand before this text.
/* global VERSION, FILES, LATER */
const KEPT = `page-${VERSION}`;

async function digest(bytes) {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...sum].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The file as it was published. Raises Error where it is another one. */
async function published(name, sha256) {
  const response = await fetch(new URL(name, registration.scope), { cache: "no-cache" });
  const bytes = await response.clone().arrayBuffer();
  if (!response.ok || await digest(bytes) !== sha256) throw new Error(`${name} is not the file that was published`);
  return response;
}

addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(KEPT);
  for (const [name, sha256] of Object.entries(FILES)) await cache.put(new URL(name, registration.scope), await published(name, sha256));
  await self.skipWaiting(); // all is here: the next visit is to the new page
})()));

addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("page-") && name !== KEPT) await caches.delete(name);
  await clients.claim();
})()));

/** As the file, but isolated: the page may then share memory between threads, and the model uses
 * several. Most hosts of plain files send no such headers, so only visits after the first have them. */
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, headers });
}

const nameOf = (address) => {
  if (!address.href.startsWith(registration.scope)) return null;
  return decodeURIComponent(address.pathname.slice(new URL(registration.scope).pathname.length)) || "index.html";
};

addEventListener("fetch", (event) => {
  const name = event.request.method === "GET" ? nameOf(new URL(event.request.url)) : null;
  if (name === null || !(name in FILES || name in LATER)) return;
  event.respondWith((async () => {
    const cache = await caches.open(KEPT), address = new URL(name, registration.scope);
    const kept = await cache.match(address);
    if (kept) return isolated(kept);
    const fresh = await published(name, FILES[name] || LATER[name]);
    await cache.put(address, fresh.clone());
    return isolated(fresh);
  })());
});
