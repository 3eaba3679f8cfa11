--- What the published and the constructed answers of relays mean, written out
--- by hand. Files are named as they lie in `spec/data/relay`.
local relay = {}

local FOLDER = "spec/data/relay/"

---@param file string
---@return string
function relay.text(file)
  local handle = assert(io.open(FOLDER .. file, "rb"))
  local text = handle:read("*a")
  handle:close()
  return text
end

local CDN = "https://storage.cdn-luma.com/dream-machine/"
local CLIP = CDN .. "b0d67582-c6f0-4973-a89c-3fea9d46d5e9/35049450-c008-4607-b1d0-0b025599f15d/"
  .. "video0b6619468da8e409da860706bbf26bbad.mp4"
local LAST_FRAME = CDN .. "b0d67582-c6f0-4973-a89c-3fea9d46d5e9/606108d9-9daf-4265-84fb-595f18240ac5/"
  .. "video_0_last_frame.jpg"
local THUMBNAIL = "https://imagedelivery.net/1KomXrSWiTojGGip43n0SQ/e4268de5-4a74-45ff-67b8-dc46df12de00/public"
local PRESIGNED = "https://dc53a917a6f427706a8ca3ecc7d70ea4.r2.cloudflarestorage.com/ai-lumalabs-storage-private/"
  .. "dream_machine/42fec936-6419-4e45-8d7f-50b258582283/42fec936-6419-4e45-8d7f-50b258582283_raw_video_0_"
  .. "video0e7ae2e33eca140aba7a4ce29bf5c0431.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=REDACTED"
  .. "&X-Amz-Date=20240722T070743Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=REDACTED"

--- One generation: every field but `raw`.
relay.generations = {
  ["submit.response.pending.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "pending",
    raw_state = "pending",
    created_at = "2024-12-22T13:38:40.139409Z",
  },
  ["submit.response.pending.2024-07.json"] = {
    id = "fc7fb008-7a5e-40ad-a7ff-dbb63db61be8",
    state = "pending",
    raw_state = "pending",
    created_at = "2024-07-22T12:47:28.553735Z",
    prompt = "cat dance",
  },
  ["submit.response.pending.minimal.json"] = {
    id = "9d4b7516-77e5-481a-b015-48313946f33b",
    state = "pending",
    raw_state = "pending",
    created_at = "2024-07-01T07:35:13.498660Z",
    prompt = "cat dance",
  },
  ["submit.response.queued.crazyrouter.json"] = {
    id = "luma_gen_abc123",
    state = "pending",
    raw_state = "queued",
    created_at = "2024-03-01T12:00:00Z",
  },
  ["submit.response.task-id-only.openai-hk-v2.json"] = {
    id = "90254e88-2591-4007-99b8-9ee442b54b9b",
    state = "pending",
  },
  ["constructed/submit.response.envelope.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "pending",
    created_at = "2024-12-22T13:38:40Z",
    raw_state = "submitted",
  },
  ["extend.response.pending.json"] = {
    id = "749d328e-4fd0-43a8-8c89-32394d60da69",
    state = "pending",
    raw_state = "pending",
    created_at = "2024-12-22T14:48:39.947851Z",
  },
  ["query.response.completed.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "completed",
    raw_state = "completed",
    video_url = CLIP,
    thumbnail_url = THUMBNAIL,
    last_frame_url = LAST_FRAME,
    created_at = "2024-12-22T13:38:40.139Z",
    prompt = "cat dance",
    width = 1360,
    height = 752,
    duration = 5.041667,
  },
  ["query.response.completed.2024-07-watermarked.json"] = {
    id = "d70f241f-dede-41ee-92bd-27e2d10d1cb3",
    state = "completed",
    raw_state = "completed",
    video_url = PRESIGNED,
    created_at = "2024-07-22T07:05:31.207000Z",
    prompt = "cat dance",
    width = 512,
    height = 512,
  },
  ["query.response.completed.crazyrouter.json"] = {
    id = "luma_gen_abc123",
    state = "completed",
    raw_state = "completed",
    video_url = "https://storage.cdn-luma.com/...",
    created_at = "2024-03-01T12:00:00Z",
  },
  ["constructed/query.response.completed.no-url.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "completed",
    raw_state = "completed",
    created_at = "2024-12-22T13:38:40.139Z",
    width = 1360,
    height = 752,
  },
  ["constructed/query.response.assets-variant.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "completed",
    raw_state = "completed",
    video_url = CLIP,
    thumbnail_url = THUMBNAIL,
    last_frame_url = LAST_FRAME,
    created_at = "2024-12-22T13:38:40.139Z",
    width = 1360,
    height = 752,
    duration = 5.041667,
  },
  ["constructed/query.response.failed.json"] = {
    id = "4665a07c-7641-4809-a133-10786201bb56",
    state = "failed",
    raw_state = "failed",
    failure_reason = "Advanced prompt moderation failed",
    failure_kind = "moderation", failure_code = "content_moderated",
    created_at = "2024-12-22T13:38:40.139Z",
    prompt = "cat dance",
  },
}

--- A list of them: every field but `raw`.
relay.batches = {
  ["batch.response.array.completed.json"] = {
    {
      id = "4665a07c-7641-4809-a133-10786201bb56",
      state = "completed",
      raw_state = "completed",
      video_url = CLIP,
      thumbnail_url = THUMBNAIL,
      last_frame_url = LAST_FRAME,
      created_at = "2024-12-22T13:38:40.139Z",
      prompt = "cat dance",
      width = 1360,
      height = 752,
      duration = 5.041667,
    },
  },
  ["batch.response.envelope.in-progress.json"] = {
    {
      id = "9d4b7516-77e5-481a-b015-48313946f33b",
      state = "processing",
      raw_state = "processing",
      created_at = "2024-07-01T07:35:13.498000Z",
      prompt = "cat dance",
    },
  },
  ["constructed/batch.response.envelope.success.json"] = {
    {
      id = "4665a07c-7641-4809-a133-10786201bb56",
      state = "completed",
      raw_state = "SUCCESS",
      video_url = CLIP,
      thumbnail_url = THUMBNAIL,
      last_frame_url = LAST_FRAME,
      created_at = "2024-12-22T13:38:40.139Z",
      prompt = "cat dance",
      width = 1360,
      height = 752,
      duration = 5.041667,
      progress = 1,
    },
  },
  ["constructed/batch.response.envelope.failure.json"] = {
    {
      id = "4665a07c-7641-4809-a133-10786201bb56",
      state = "failed",
      raw_state = "FAILURE",
      failure_reason = "Advanced prompt moderation failed",
      created_at = "2024-12-22T13:38:40Z",
      failure_kind = "moderation", failure_code = "content_moderated",
      progress = 1,
    },
  },
  ["constructed/batch.response.envelope.empty-null.json"] = {},
}

--- An error: what the service says, and what luma makes of it as the answer
--- to a submit.
relay.errors = {
  ["constructed/error.400.upstream-detail-as-message.json"] = {
    status = 400,
    kind = "invalid",
    sent = "no",
    code = "fail_to_fetch_task",
    message = "Prompt is too short, minimum length is 3 characters",
  },
  ["constructed/error.401.luma-api-proxy.json"] = {
    status = 401,
    kind = "auth",
    sent = "no",
    message = "unauthorized secret token",
  },
  ["constructed/error.401.luma-upstream.json"] = {
    status = 401,
    kind = "auth",
    sent = "no",
    message = "Not authenticated",
  },
  ["constructed/error.401.openai-style.json"] = {
    status = 401,
    kind = "auth",
    sent = "no",
    code = "new_api_error",
    request_id = "20241222133840139409000abcdefgh",
    message = "无效的令牌 (request id: 20241222133840139409000abcdefgh)",
  },
  ["constructed/error.403.quota.task-style.json"] = {
    status = 403,
    kind = "quota",
    sent = "no",
    code = "quota_not_enough",
    message = "user quota is not enough",
  },
  ["constructed/error.429.task-style.json"] = {
    status = 429,
    kind = "rate_limit",
    sent = "no",
    code = "fail_to_fetch_task",
    message = "当前分组上游负载已饱和，请稍后再试",
  },
  ["constructed/error.500.task-style.masked.json"] = {
    status = 500,
    kind = "server",
    sent = "maybe",
    code = "do_request_failed",
    message = "请求上游地址失败",
  },
  ["constructed/error.503.openai-style.json"] = {
    status = 503,
    kind = "server",
    sent = "no",
    code = "new_api_error",
    request_id = "20241222133840139409000abcdefgh",
    message = "当前分组 default 下对于模型 luma 无可用渠道 (request id: 20241222133840139409000abcdefgh)",
  },
}

--- Bodies that luma sends, and one answer that it does not read.
relay.others = {
  "submit.request.json",
  "submit.request.aspect-ratio.json",
  "extend.request.json",
  "batch.request.json",
  "download-url.response.json",
}

return relay
