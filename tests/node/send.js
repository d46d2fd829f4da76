// Sends events with RudderStack's own library: node send.js URL WRITE_KEY ID [ID …]; a line for each one that failed.
const RudderAnalytics = require("@rudderstack/rudder-sdk-node");

const [url, key, ...ids] = process.argv.slice(2);
const client = new RudderAnalytics(key, { dataPlaneUrl: url, flushAt: 10, flushInterval: 100, retryCount: 12, logLevel: "none",
  axiosRetryConfig: { retryDelay: (count) => Math.min(200 * count, 1000) } });

async function main() {
  let waiting = ids.length;
  for (const id of ids) {
    client.track({ userId: "u1", event: "Product Reviewed", messageId: id, properties: { rating: 5 } }, (error) => {
      waiting -= 1;
      if (error) console.log(`failed ${id}: ${error.message}`);
    });
    await new Promise((done) => setTimeout(done, 10));
  }
  while (waiting > 0) {
    client.flush().catch(() => {});
    await new Promise((done) => setTimeout(done, 200));
  }
  process.exit(0);
}

main();
