FROM golang:1.26 AS build
WORKDIR /src

# The modules have a layer of their own, which outlives changes to the code.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /kvactor .

FROM scratch
COPY --from=build /kvactor /kvactor
# Huge pages round the use of memory up, and a container could exceed its limit.
ENV GODEBUG=disablethp=1
USER 65534:65534
EXPOSE 8080
ENTRYPOINT ["/kvactor"]
