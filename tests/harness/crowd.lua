-- One request of a connection every ten milliseconds at most.
function delay()
    return 10
end
