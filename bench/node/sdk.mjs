// The official SDK, lumaai: WORK N BASE K.
import LumaAI from "lumaai";

const [, , , n, base, k] = process.argv;
const client = new LumaAI({ authToken: "bench", baseURL: base, maxRetries: 0 });
const prompt = "a".repeat(400);

async function worker(count) {
  for (let i = 0; i < count; i++) {
    const generation = await client.generations.video.create({
      prompt, model: "ray-2", duration: "5s", resolution: "720p",
    });
    if (!generation.id) throw new Error("no id");
  }
}

await Promise.all(Array.from({ length: +k }, () => worker(n / k)));
