--- A bare module that links libcurl, initialises it and loads lua-cjson.
require "thin"
