# KEEP THIS FILE TO YOURSELF: it holds the VPN's key. Delete it once it has run.
#
# Adds the VPN connection 'VPN acme' of 'alice' to Windows 10 or 11; one
# of that name is replaced. Run it as the person who uses the VPN, as a file, so that
# the key is in no history:
#
#   powershell -ExecutionPolicy Bypass -File THIS-FILE

$ErrorActionPreference = 'Stop'
# for whoever pastes these lines all the same
try { Set-PSReadLineOption -HistorySaveStyle SaveNothing } catch { }

$connection = 'VPN acme'

if (Get-VpnConnection -Name $connection -ErrorAction SilentlyContinue) {
    Remove-VpnConnection -Name $connection -Force
}
$settings = @{
    Name                 = $connection
    ServerAddress        = '203.0.113.10'
    TunnelType           = 'L2tp'
    L2tpPsk              = 'the-key-of-all-clients'
    AuthenticationMethod = 'MSChapv2'
    EncryptionLevel      = 'Required'
    RememberCredential   = $true
    SplitTunneling       = $false
    Force                = $true
}
Add-VpnConnection @settings

# Everything goes through the VPN, also what is for the internet.

Write-Host "Done. Connect with the network icon in the taskbar: VPN, $connection."
Write-Host 'Windows asks once for the user name and the password:'
Write-Host '  user name: alice'
Write-Host ('  password:  ' + 'password-of-alice')
