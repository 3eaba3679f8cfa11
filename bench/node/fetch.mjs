// Node's own fetch: WORK N BASE K.
const [, , work, n, base, k] = process.argv;
const prompt = "a".repeat(400);
const url = base + "/luma/generations";
const headers = {
  Authorization: "Bearer bench", Accept: "application/json", "Content-Type": "application/json",
};

async function worker(count) {
  for (let i = 0; i < count; i++) {
    const answer = work === "get"
      ? await fetch(`${url}/4665a07c-7641-4809-a133-10786201bb56`, { headers })
      : await fetch(url, {
        method: "POST", headers,
        body: JSON.stringify({
          user_prompt: prompt, model_name: "ray-v2", duration: "5s", resolution: "720p",
        }),
      });
    if (!(await answer.json()).id) throw new Error("no id");
  }
}

await Promise.all(Array.from({ length: +k }, () => worker(n / k)));
