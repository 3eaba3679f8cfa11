-- Dawn over a river, and a boat folded from paper. All of it is drawn by code.
local scene = {}

local COLUMNS = 120 -- of a wave
local HORIZON = 0.5 -- of the height

-- From far to near: where it begins, how high, how long, how fast, colours of
-- its top and of its bottom.
local WAVES = {
  { 0.515, 3, 70, 0.5, { 0.93, 0.62, 0.52 }, { 0.66, 0.45, 0.56 } },
  { 0.56, 5, 110, 0.7, { 0.72, 0.49, 0.57 }, { 0.42, 0.34, 0.53 } },
  { 0.63, 8, 170, 0.9, { 0.49, 0.39, 0.56 }, { 0.28, 0.26, 0.47 } },
  { 0.72, 11, 240, 1.1, { 0.33, 0.31, 0.52 }, { 0.17, 0.18, 0.38 } },
}
local BOAT_WAVE = 3 -- it floats in this one

local SKY = {
  { 0, { 0.20, 0.21, 0.42 } }, { 0.22, { 0.45, 0.36, 0.56 } }, { 0.38, { 0.90, 0.55, 0.53 } },
  { 0.47, { 1.00, 0.76, 0.55 } }, { 0.54, { 1.00, 0.87, 0.66 } },
}
local HILLS = {
  { 0.105, 310, 1.3, { 0.62, 0.43, 0.55 } }, { 0.06, 190, 4.1, { 0.45, 0.34, 0.51 } },
}

local sky, glow, waves, width, height

local function new_strip(points, usage)
  return love.graphics.newMesh(points, "strip", usage or "static")
end

local function make_sky()
  local points = {}
  for _, stop in ipairs(SKY) do
    local y, c = stop[1] * height, stop[2]
    points[#points + 1] = { 0, y, 0, 0, c[1], c[2], c[3], 1 }
    points[#points + 1] = { width, y, 0, 0, c[1], c[2], c[3], 1 }
  end
  return new_strip(points)
end

--- Light that fades towards the edge of a circle.
local function make_glow()
  local points = { { 0, 0, 0, 0, 1, 0.86, 0.62, 0.75 } }
  for i = 0, 48 do
    local angle = i / 48 * 2 * math.pi
    points[#points + 1] = { math.cos(angle), math.sin(angle), 0, 0, 1, 0.7, 0.5, 0 }
  end
  return love.graphics.newMesh(points, "fan", "static")
end

--- The points of a strip are made once and moved each frame, so that the
--- drawing leaves nothing to collect.
local function make_wave(wave)
  local top, bottom, points = wave[5], wave[6], {}
  for i = 0, COLUMNS do
    local x = i / COLUMNS * width
    points[2 * i + 1] = { x, 0, 0, 0, top[1], top[2], top[3], 1 }
    points[2 * i + 2] = { x, height, 0, 0, bottom[1], bottom[2], bottom[3], 1 }
  end
  return { points = points, mesh = new_strip(points, "stream") }
end

function scene.load()
  width, height = love.graphics.getDimensions()
  sky, glow = make_sky(), make_glow()
  waves = {}
  for i, wave in ipairs(WAVES) do waves[i] = make_wave(wave) end
end

--- How high a wave is at `x`, and so where its line runs.
local function level(wave, x, t)
  local base, swell, length, speed = wave[1], wave[2], wave[3], wave[4]
  local k = 2 * math.pi / length
  return base * height + swell * (math.sin(k * x + speed * t)
    + 0.5 * math.sin(1.7 * k * x - 1.3 * speed * t + base * 40))
end

local function draw_wave(i, t)
  local points = waves[i].points
  for column = 0, COLUMNS do
    local point = points[2 * column + 1]
    point[2] = level(WAVES[i], point[1], t)
  end
  waves[i].mesh:setVertices(points)
  love.graphics.setColor(1, 1, 1)
  love.graphics.draw(waves[i].mesh)
end

local function draw_sun(t)
  local x, y = width * 0.68, height * (HORIZON - 0.055)
  love.graphics.setColor(1, 1, 1)
  love.graphics.draw(glow, x, y, 0, 220 + 6 * math.sin(t * 0.7))
  love.graphics.setColor(1, 0.95, 0.82)
  love.graphics.circle("fill", x, y, 40)
end

--- What the water shows of the sun: short strokes, wider the nearer.
local function draw_glitter(t)
  local x = width * 0.68
  for i = 1, 26 do
    local y = height * (HORIZON + 0.025) + i * i * 0.28
    local half = (8 + i * 1.9) * (0.55 + 0.45 * math.sin(i * 2.4 + t * 1.8))
    love.graphics.setColor(1, 0.9, 0.7, 0.5 - i * 0.016)
    love.graphics.ellipse("fill", x + 6 * math.sin(i + t), y, half, 1.2 + i * 0.05)
  end
end

local function draw_hills()
  for _, hill in ipairs(HILLS) do
    local rise, length, phase, colour = hill[1] * height, hill[2], hill[3], hill[4]
    love.graphics.setColor(colour)
    for x = 0, width, 4 do
      local y = rise * (0.55 + 0.3 * math.sin(x / length + phase) + 0.15 * math.sin(2.7 * x / length))
      love.graphics.rectangle("fill", x, height * 0.53 - y, 4, y)
    end
  end
end

local function draw_birds(t)
  love.graphics.setColor(0.25, 0.22, 0.38, 0.8)
  love.graphics.setLineWidth(2)
  for i = 0, 3 do
    local x = (width * 0.15 + i * 37 + t * 9) % (width + 80) - 40
    local y = height * 0.17 + 12 * math.sin(i * 2.1) + 4 * math.sin(t + i)
    local flap = 5 * math.sin(t * 5 + i * 1.4)
    love.graphics.line(x - 10, y - flap, x, y, x + 10, y - flap)
  end
end

local function face(shade, ...)
  love.graphics.setColor(shade, shade * 0.985, shade * 0.95)
  love.graphics.polygon("fill", ...)
end

--- Its shade on the water, which the wave shows through.
local function draw_shade(t)
  local wave = WAVES[BOAT_WAVE]
  local x = width * 0.36 + 26 * math.sin(t * 0.23)
  love.graphics.setColor(0.12, 0.12, 0.3, 0.22)
  love.graphics.ellipse("fill", x - 6, level(wave, x, t) + 17, 66, 7)
  love.graphics.setColor(1, 1, 1, 0.18)
  love.graphics.ellipse("fill", x + 4, level(wave, x, t) + 30, 40, 3)
end

--- The boat, around the middle of its waterline.
local function draw_paper()
  face(0.86, 0, -92, -44, -22, 0, -16) -- the fold that stands up
  face(0.98, 0, -92, 0, -16, 44, -22)
  face(0.80, -104, -34, 0, -10, 104, -34, 0, -24) -- the far side, seen from within
  face(0.99, -104, -34, -60, 24, 0, 26, 0, -10) -- the near side
  face(0.91, 104, -34, 60, 24, 0, 26, 0, -10)
  love.graphics.setColor(0.55, 0.5, 0.58, 0.35)
  love.graphics.setLineWidth(1.5)
  love.graphics.line(0, -92, 0, -16)
  love.graphics.line(0, -10, 0, 26)
  love.graphics.line(-104, -34, 0, -10, 104, -34)
end

local function draw_boat(t)
  local wave = WAVES[BOAT_WAVE]
  local x = width * 0.36 + 26 * math.sin(t * 0.23)
  local y = level(wave, x, t)
  local slope = (level(wave, x + 40, t) - level(wave, x - 40, t)) / 80
  love.graphics.push()
  love.graphics.translate(x, y - 10)
  love.graphics.rotate(math.atan(slope) * 0.9 + 0.02 * math.sin(t * 1.1))
  draw_paper()
  love.graphics.pop()
end

---@param t number seconds
function scene.draw(t)
  love.graphics.setColor(1, 1, 1)
  love.graphics.draw(sky)
  draw_sun(t)
  draw_hills()
  draw_birds(t)
  for i = 1, #WAVES do
    if i == BOAT_WAVE then draw_boat(t) end
    draw_wave(i, t)
    if i == BOAT_WAVE then draw_shade(t) end
    if i == BOAT_WAVE - 1 then draw_glitter(t) end
  end
end

return scene
