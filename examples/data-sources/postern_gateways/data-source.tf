data "postern_gateways" "all" {}

output "behind" {
  description = "Processes that do not enforce what was released."
  value = [
    for name, gateway in data.postern_gateways.all.gateways : name
    if anytrue([for process in gateway.processes : !process.enforces])
  ]
}
