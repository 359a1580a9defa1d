module kvactor

go 1.26

require github.com/julienschmidt/httprouter v1.3.1-0.20240130105656-484018016424
