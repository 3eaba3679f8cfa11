-- luacheck: globals love
-- A paper boat goes on rocking while its video is made and fetched.
--   love examples/love [--shot FILE.png]
-- With --shot it takes a picture of itself on the way, prints what the frames
-- took, and ends when the clip has come, or has not.
local luma = require "luma"
local scene = require "scene"

local PROMPT = "a paper boat on a river at dawn"
local SHOT_AT = 0.4 -- of the download

local WORDS = {
  running = "asking for it",
  pending = "waiting in the queue",
  processing = "being made",
  unknown = "being made",
  downloading = "being fetched",
  completed = "Here it is",
  failed = "That did not work",
  cancelled = "You called it off",
}

local job, problem -- the clip under way or the last one; why there is none
local plays_itself = false
local shot -- where a picture of the game goes that is still to be taken
local frames, updates = {}, {} -- seconds that each took
local skipped = 5 -- frames that are not counted: loading, taking the picture
local fonts

-- ---- the clip ----

local function start_clip()
  love.filesystem.createDirectory("clips")
  local path = ("%s/clips/boat-%d.mp4"):format(love.filesystem.getSaveDirectory(), os.time())
  job, problem = luma.start({ user_prompt = PROMPT }, { path = path })
end

local function is_busy()
  return job and not job:done()
end

--- The two lines under the bar: what is going on, and what comes of it.
local function tell()
  if problem then return WORDS.failed, problem.message end
  if not job then return "Press space to have this clip made", "" end
  if job.error then return WORDS[job.state], job.error.message end
  if job:done() then return WORDS.completed, job:result().path end
  return ("It is %s, %.0f s"):format(WORDS[job.state] or job.state, job.elapsed), ""
end

-- ---- playing by itself ----

local function rank(list, part)
  table.sort(list)
  return (list[math.max(1, math.ceil(#list * part))] or 0) * 1000
end

local function print_times(name, list)
  print(("%s: median %.3f ms, 99th %.3f ms, max %.3f ms (%d)"):format(name, rank(list, 0.5),
    rank(list, 0.99), rank(list, 1), #list))
end

local function take_picture()
  local path = shot
  shot = nil
  love.graphics.captureScreenshot(function(image)
    local file = assert(io.open(path, "wb"))
    file:write(image:encode("png"):getString())
    file:close()
    skipped = 1
  end)
end

local function finish()
  print_times("frames", frames)
  print_times("luma.update()", updates)
  local what, more = tell()
  print(("%s: %s"):format(what, more))
  love.event.quit(job and job.state == "completed" and 0 or 1)
end

-- ---- the game ----

function love.load(arguments)
  fonts = { small = love.graphics.newFont(15), large = love.graphics.newFont(22) }
  scene.load()
  if arguments[1] ~= "--shot" then return end
  shot, plays_itself = arguments[2], true
  start_clip()
end

function love.update(dt)
  local before = love.timer.getTime()
  luma.update() -- all that luma needs of a frame
  if not plays_itself then return end
  updates[#updates + 1] = love.timer.getTime() - before
  if skipped > 0 then skipped = skipped - 1
  else frames[#frames + 1] = dt end
  if shot and (not is_busy() or (job.state == "downloading" and (job.progress or 0) >= SHOT_AT)) then
    take_picture()
  elseif not is_busy() then
    finish()
  end
end

function love.keypressed(key)
  if key == "space" and not is_busy() then start_clip()
  elseif key == "c" and is_busy() then job:cancel()
  elseif key == "escape" then love.event.quit() end
end

-- ---- what is seen ----

--- A bar; without a number a light that runs along it.
local function draw_bar(x, y, width, height, progress, colour)
  local round = height / 2
  love.graphics.setColor(1, 1, 1, 0.16)
  love.graphics.rectangle("fill", x, y, width, height, round)
  love.graphics.setColor(colour)
  if progress then
    love.graphics.rectangle("fill", x, y, math.max(height, width * progress), height, round)
  else
    local length = width * 0.22
    local at = (math.sin(love.timer.getTime() * 1.6) + 1) / 2
    love.graphics.rectangle("fill", x + at * (width - length), y, length, height, round)
  end
end

local CORAL, MINT, ROSE = { 1, 0.71, 0.49 }, { 0.58, 0.89, 0.71 }, { 0.98, 0.52, 0.52 }

local function draw_panel()
  local width, height = love.graphics.getDimensions()
  local x, y, w, h = 40, height - 152, width - 80, 120
  love.graphics.setColor(0.07, 0.09, 0.2, 0.72)
  love.graphics.rectangle("fill", x, y, w, h, 16)

  local what, more = tell()
  local failed = problem or job and job.error
  local done = job and job.state == "completed"
  local colour = failed and ROSE or done and MINT or CORAL
  love.graphics.setFont(fonts.large)
  love.graphics.setColor(1, 0.97, 0.92)
  love.graphics.print(what, x + 24, y + 16)
  love.graphics.setFont(fonts.small)
  love.graphics.setColor(1, 0.97, 0.92, 0.65)
  love.graphics.printf(is_busy() and "c  call it off" or "space  make it", x + 24, y + 21, w - 48, "right")

  if job or problem then
    local progress = (done or failed) and 1 or job.progress
    draw_bar(x + 24, y + 54, w - 48, 12, progress, colour)
  end
  love.graphics.setColor(1, 0.97, 0.92, 0.85)
  love.graphics.printf(more ~= "" and more or "“" .. PROMPT .. "”", x + 24, y + 78, w - 48, "left")
end

function love.draw()
  scene.draw(love.timer.getTime())
  draw_panel()
end
